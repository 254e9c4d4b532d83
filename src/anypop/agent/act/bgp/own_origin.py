"""What RPKI says of ourselves: prefixes that we announce and others refuse, and caches that do not answer.

In: the configuration that runs, BIRD's `show protocols all`, its control socket. Out: one line in words, empty when all
is well. It only tells: an announcement that RPKI calls invalid is still made, since a wrong statement in the RPKI would
otherwise take a service down everywhere.
"""

import re
from pathlib import Path

from anypop.agent.decide.elements import SpeakerConfig
from anypop.host import birdc
from anypop.model.errors import WorldError

_ASK_S = 5.0
_INVALID = re.compile(r"\)2$", re.MULTILINE)  # `(enum 35)2`: 0 unknown, 1 valid, 2 invalid


def troubles(config: SpeakerConfig, told: str, control: Path) -> str:
    """Empty, or what the operator has to know."""
    if not config.rpki:
        return ""
    found = [
        f"RPKI cache {cache.host}:{cache.port} does not answer; without one, routes are taken unchecked"
        for number, cache in enumerate(config.rpki)
        if not re.search(rf"^cache{number}\s+RPKI\s.*Established", told, re.MULTILINE)
    ]
    prefixes = sorted({e.prefix for e in config.exports}, key=lambda p: (p.version, str(p)))
    found += [
        f"RPKI calls our own {prefix} from AS{config.asn} invalid: others refuse it; mend its ROA"
        for prefix in prefixes
        if _is_invalid(f"roa_check(rpki{prefix.version}, {prefix}, {config.asn})", control)
    ]
    return "; ".join(found)


def _is_invalid(question: str, control: Path) -> bool:
    try:
        return _INVALID.search(birdc.ask(control, f"eval {question}", timeout_s=_ASK_S)) is not None
    except WorldError:
        return False  # it is asked again with the next look
