"""Hypothesis profiles: how long property tests search. `pytest --hypothesis-profile NAME` chooses one.

Without a name it is hypothesis's `default` of a hundred examples, or its `ci` where the environment says CI: as many,
and always the same ones. `script/check` takes `quick`, so that it stays a thing to run before each commit: few, and
always the same ones; `thorough` is for a night or a doubt.
"""

from hypothesis import settings

# how long one example takes is a matter of what else the machine does
settings.register_profile("default", settings.get_profile("default"), deadline=None)
settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)
