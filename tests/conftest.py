"""Hypothesis profiles: how long property tests search. `pytest --hypothesis-profile NAME` chooses one. And how often
Python looks for cycles meanwhile.

Without a name it is hypothesis's `default` of a hundred examples, or its `ci` where the environment says CI: as many,
and always the same ones. `script/check` takes `quick`, so that it stays a thing to run before each commit: few, and
always the same ones; `thorough` is for a night or a doubt.
"""

import gc

from hypothesis import settings

# how long one example takes is a matter of what else the machine does
settings.register_profile("default", settings.get_profile("default"), deadline=None)
settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)

# While tests are collected nearly all that is made stays: to walk over it again and again is a tenth of that time. What
# stays is left alone after it, and the rest is looked at less often than by default, each 700 objects.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
