"""Python's collector of cycles in a process that holds a large state.

By default it looks at the youngest objects after each 700 that are made, and at all there are whenever a quarter is
new. Control holds hundreds of thousands of objects that live for ever and are in no cycle: on a platform of 100,000
instances a third of a first plan went there.
"""

import gc

_YOUNG = 100_000  # so many new objects are some ten megabytes: little beside the state itself
_MIDDLE, _OLD = 50, 100


def seldom() -> None:
    """Collect seldom. For a whole process, once, at its start."""
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
