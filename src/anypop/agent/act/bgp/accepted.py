"""Which sessions BIRD takes, when it does not take all of them: one bad session must not hold up the others.

In: the configuration, sessions known to be bad, a check (BIRD's own parser). Out: those that must be left out, with
reasons. Each is tried alone; where each is right alone and they are wrong together, they are added one after the other,
and the one that makes it wrong is left out. Changes nothing.
"""

from collections.abc import Callable, Mapping

from anypop.agent.act.bgp.config import sessions_of
from anypop.agent.act.bgp.words import flaw
from anypop.agent.decide.elements import SpeakerConfig
from anypop.model.errors import WorldError

Check = Callable[[set[str]], None]
"""Parses the configuration without these sessions; raises `WorldError` with the parser's words."""


def flaws(config: SpeakerConfig) -> dict[str, str]:
    """Sessions that cannot even be written down."""
    found = {name: flaw(upstream, family) for name, (upstream, family) in sessions_of(config).items()}
    return {name: why for name, why in found.items() if why}


def refused(config: SpeakerConfig, known: Mapping[str, str], check: Check) -> dict[str, str]:
    """What must be left out beside `known`. Raises `WorldError` where the rest is wrong without any session."""
    every = set(sessions_of(config))
    check(every)
    bad: dict[str, str] = {}
    for name in sorted(every - known.keys()):
        try:
            check(every - {name})
        except WorldError as error:
            bad[name] = error.why
    together: set[str] = set()
    for name in sorted(every - known.keys() - bad.keys()):
        try:
            check(every - together - {name})
        except WorldError as error:
            bad[name] = f"cannot stand beside the others: {error.why}"
        else:
            together.add(name)
    return bad
