"""What is read of a recorded text, beside what the scenes know: fields, best and reason of each prefix.

A form shows what it shows: a table has no router ids, and of two internal routes nobody can then say more than "as it
seems". Such an answer counts as right where it is marked so and the true reason is not in the form. Used by the tests
and by `script/bench explain`.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from anypop.model import extended_communities as extended
from anypop.model.errors import Invalid
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.explained import Explained, explain
from anypop.routing.paste.pasted import PastedRoute
from anypop.routing.paste.read import read
from tests.recorded.routes.scenes import SCENES, Announced, Scene, address, prefix

HERE = Path(__file__).parent
_MAKERS = {"bird1": "bird"}
_UNSHOWN = ("eBGP over iBGP", "nearest exit (IGP metric)", "router id")
_ORIGINS = {"IGP": Origin.IGP, "EGP": Origin.EGP, "INCOMPLETE": Origin.INCOMPLETE}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One prefix of one text. `wrong`: what differs. `marked`: the answer says itself that it may be wrong."""

    text: str
    name: str
    read: bool
    fields: bool = False
    best: bool = False
    reason: bool = False
    marked: bool = False
    wrong: tuple[str, ...] = ()


def texts() -> dict[str, str]:
    """The recorded texts by name: DAEMON-FORM-vVERSION."""
    return {path.stem: path.read_text() for path in sorted(HERE.glob("*-v[46].txt"))}


def judged(name: str, text: str, maker: str = "", without: Container[str] = ()) -> Iterator[Verdict]:
    """One verdict for each scene. `maker`: whose text it is, where its name does not begin with it. `without`: scenes
    that it leaves out.
    """
    daemon, version = name.partition("-")[0], int(name[-1])
    maker = maker or _MAKERS.get(daemon, daemon)
    parts = text.splitlines() if "json-entry" in name else [text]
    found: dict[object, Explained] = {}
    for part in parts:
        try:
            found |= {one.prefix: one for one in explain(read(part))}
        except Invalid:
            continue
    for scene in (scene for scene in SCENES if scene.name not in without):
        yield verdict(name, maker, scene, version, found.get(ip_network(str(prefix(scene, version)))))


def verdict(name: str, maker: str, scene: Scene, version: int, told: Explained | None) -> Verdict:
    if told is None:
        return Verdict(text=name, name=scene.name, read=False, marked=True, wrong=("not read",))
    by_path = {(announced.as_path, announced.peer): announced for announced in scene.routes}
    wrong = list(_fields(told, by_path, version))
    peer, reason = scene.truth(maker)
    best = next(a for a in scene.routes if a.peer == peer)
    right = told.best is not None and told.best.as_path == best.as_path and _of(told.best, peer, version)
    if not right:
        wrong.append(f"best {told.best.as_path if told.best else None}, not that of peer {peer}")
    because = told.step == reason or (right and not told.sure and told.step in _UNSHOWN)
    if not because:
        wrong.append(f"reason {told.step}, not {reason}")
    return Verdict(
        text=name,
        name=scene.name,
        read=True,
        fields=not any(w.startswith("field") for w in wrong),
        best=right,
        reason=because,
        marked=bool(told.notes)
        or any(o.route.doubts for o in told.outcomes)
        or not told.sure
        or not told.whole
        or bool(told.disagrees),
        wrong=tuple(wrong),
    )


def wrong_without_mark(verdict: Verdict) -> bool:
    """Whether an answer says something wrong and does not say that it may be. A text that has fewer routes than were
    printed is right about those that it has: their reason is then their own.
    """
    fewer = any("routes are missing" in w for w in verdict.wrong)
    wrong = [w for w in verdict.wrong if "routes are missing" not in w and not (fewer and w.startswith("reason"))]
    return verdict.read and bool(wrong) and not verdict.marked


def _of(route: Candidate, peer: int, version: int) -> bool:
    """Whether a route is a peer's, or one that does not tell (link-local, or without an address)."""
    hop = route.next_hop.lower()
    return hop == address(peer, version) or not hop or hop.startswith("fe80")


def _fields(told: Explained, by_path: Mapping[tuple[tuple[int, ...], int], Announced], version: int) -> Iterator[str]:
    left = dict(by_path)
    for outcome in told.outcomes:
        route = outcome.route
        if route.broken:
            yield f"field: line {route.line} is not read"
            continue
        keys = [k for k in left if k[0] == route.candidate.as_path and _of(route.candidate, k[1], version)]
        key = min(keys, key=lambda k: len(list(_differences(route, left[k]))), default=None)
        if key is None:
            yield f"field: path {route.candidate.as_path}"
            continue
        yield from _differences(route, left.pop(key))
    if left:
        yield f"field: {len(left)} routes are missing"


def _differences(route: PastedRoute, truth: Announced) -> Iterator[str]:
    candidate = route.candidate
    preference = 100 if truth.local_pref is None else truth.local_pref
    for what, here, there in (
        ("local preference", candidate.local_pref, preference),
        ("MED", candidate.med, truth.med or 0),
        ("origin", candidate.origin, _ORIGINS[truth.origin]),
        ("internal", not candidate.ebgp, truth.internal),
    ):
        if here != there:
            yield f"field {what} of {candidate.as_path}: {here}, not {there}"
    if candidate.communities and truth.communities and set(candidate.communities) != set(truth.communities):
        yield f"field communities: {candidate.communities}"
    made = set(extended.read_bird(" ".join(f"({', '.join(word.split(':'))})" for word in truth.extended)))
    if candidate.extended_communities and set(candidate.extended_communities) != made:
        yield f"field extended communities: {candidate.extended_communities}"
    if route.cluster_list and len(route.cluster_list) != len(truth.clusters):
        yield f"field cluster list: {route.cluster_list}"
