"""How many examples a property test takes that does not want the usual hundred.

In: the number for the whole suite. Out: that number, in proportion to the hypothesis profile in use (see
`tests/conftest.py`).
"""

from hypothesis import settings

_USUAL = 100  # hypothesis's own default, for which the numbers in the tests are meant


def examples(usual: int) -> int:
    """`usual`, or more or fewer of them by the profile; never fewer than ten."""
    return max(10, usual * settings().max_examples // _USUAL)
