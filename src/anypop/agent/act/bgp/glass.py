"""The looking glass: what this host's BIRD knows, as it says it itself, to a closed list of questions.

In: a question with an address, or the name of an upstream of ours. Out: BIRD's text, cut where it is long. No word of
whoever asks reaches BIRD: addresses are written anew from their bits, sessions are named from the configuration that
runs; and the connection is one on which BIRD takes nothing that changes anything. Blocking.
"""

from pathlib import Path

from anypop.agent.act.bgp.words import session_name
from anypop.agent.decide.elements import SpeakerConfig
from anypop.host import birdc
from anypop.model.errors import WorldError
from anypop.model.streams import RoutesQuestion, RoutesRequest

MOST_LINES = 500
PATIENCE_S = 2.0
_NOT_FOUND = "Network not found"


def answer(control: Path, config: SpeakerConfig, asked: RoutesRequest) -> str:
    """Raises `WorldError`: BIRD does not answer, or there is no such upstream."""
    try:
        return birdc.glance(control, command(config, asked), most_lines=MOST_LINES, timeout_s=PATIENCE_S)
    except WorldError as error:
        if _NOT_FOUND in error.why:
            return _NOT_FOUND
        raise


def command(config: SpeakerConfig, asked: RoutesRequest) -> str:
    """The question as BIRD is asked it. Raises `WorldError` where it means nothing here."""
    match asked.question:
        case RoutesQuestion.SESSIONS:
            return "show protocols"
        case RoutesQuestion.ROUTE:
            if asked.address is None:
                raise WorldError("ask for a route", "an address is required")
            return f"show route for {asked.address} all"
        case RoutesQuestion.TOLD | RoutesQuestion.HEARD:
            found = next((u for u in config.upstreams if u.name == asked.upstream), None)
            if found is None or asked.family not in (4, 6):
                there = ", ".join(u.name for u in config.upstreams) or "none"
                raise WorldError("ask for a session", f"no upstream {asked.upstream} here (there are {there})")
            session = session_name(found, asked.family)
            if asked.question is RoutesQuestion.TOLD:
                return f"show route export {session} all"
            return f"show route protocol {session}"
