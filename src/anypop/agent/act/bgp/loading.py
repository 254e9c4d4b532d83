"""Another configuration for a BIRD that runs: checked first, then loaded for some seconds, and for good only when what
should stand still stands.

In: BIRD's socket, the file, its digest, what is kept (`Kept`). Out: the configuration runs, or the one before does
again (`TakenBackError`). BIRD itself goes back after `UNDO_S` unless it is told that all is well: so the old one is
back also where this process dies in between. Blocking, for milliseconds where all is well.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from anypop.agent.act.bgp.config import sessions_of
from anypop.agent.act.bgp.protocols import read_sessions
from anypop.agent.decide.elements import SpeakerConfig
from anypop.host import birdc
from anypop.model.errors import WorldError
from anypop.model.network import Upstream
from anypop.model.report import SessionReport

UNDO_S = 10
WELL_WITHIN_S = 3.0  # BIRD filters anew in the background: a full table takes it a second
_LOOK_S = 0.005
_FALLEN = "it ended session"

Kept = Mapping[str, int]
"""Sessions that are the same in both configurations, by name in BIRD, and how many prefixes both tell there."""


class TakenBackError(WorldError):
    """It was loaded, something that should stand fell, and the one before runs again."""


def kept(before: SpeakerConfig | None, after: SpeakerConfig, *, but: Collection[str]) -> Kept:
    """What a change from one to the other must leave as it is: sessions of which no parameter is another one. `but`:
    those that may fall all the same, since their password is another one, or they are left out.
    """
    if before is None or (before.asn, before.router_id) != (after.asn, after.router_id):
        return {}
    was = sessions_of(before)
    same = {
        name: (upstream.name, family)
        for name, (upstream, family) in sessions_of(after).items()
        if name in was and name not in but and _without_bfd(was[name][0]) == _without_bfd(upstream)
    }
    told = {(e.prefix, e.upstream) for e in before.exports} & {(e.prefix, e.upstream) for e in after.exports}
    return {
        name: sum((upstream, family) == (there, prefix.version) for prefix, there in told)
        for name, (upstream, family) in same.items()
    }


def load(control: Path, file: Path, *, name: str, keep: Kept, timeout_s: float) -> None:
    """Have BIRD run `file`, whose digest is `name`. Raises `WorldError` with BIRD's words when it refuses the file."""
    stands = {
        session: min(keep[session], seen.exported)
        for session, seen in _sessions(control, keep, timeout_s).items()
        if seen.state == "established"
    }
    birdc.ask(control, f'configure check "{file}"', f'configure "{file}" timeout {UNDO_S}', timeout_s=timeout_s)
    deadline = time.monotonic() + WELL_WITHIN_S
    while trouble := _trouble(control, name, stands, timeout_s):
        if time.monotonic() > deadline or trouble.startswith(_FALLEN):
            birdc.ask(control, "configure undo", timeout_s=timeout_s)
            raise TakenBackError("load BIRD's configuration", f"{trouble}; the one before runs again")
        time.sleep(_LOOK_S)
    birdc.ask(control, "configure confirm", timeout_s=timeout_s)


def _trouble(control: Path, name: str, stands: Kept, timeout_s: float) -> str:
    """What is not as it should be after the change; empty: nothing."""
    if name not in birdc.ask(control, "eval anypop_digest", timeout_s=timeout_s):
        return "BIRD goes on with the configuration that it had"
    now = _sessions(control, stands, timeout_s)
    for session, most in stands.items():
        seen = now.get(session)
        if seen is None or seen.state != "established":
            return f"{_FALLEN} {session}, which nothing was changed of"
        if seen.exported < most:
            return f"{session} tells {seen.exported} prefixes, of {most} that it told before and is to tell"
    return ""


def _sessions(control: Path, wanted: Kept, timeout_s: float) -> dict[str, SessionReport]:
    if not wanted:
        return {}
    told = birdc.ask(control, "show protocols all", timeout_s=timeout_s)
    return {seen.upstream: seen for seen in read_sessions(told, {name: (name, 0) for name in wanted})}


def _without_bfd(upstream: Upstream) -> Upstream:
    """Another process has it: its times change on a session that stands."""
    return replace(upstream, bfd=False, bfd_interval_ms=None, bfd_multiplier=None)
