"""A question to the model: which announcements, over which graph; and its answers as predictions.

Between the commands and `routing.catchment`. In: a `Ground`, a plan file or control's knowledge, "what if" rules. Out: `Prediction`s that
can be compared, since both count the same PoPs as somebody's nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.cli.catchment import announced, plans, saved
from anypop.cli.catchment.announced import Known
from anypop.cli.catchment.graphs import Ground
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import Prediction, predict
from anypop.routing.catchment.sessions import Announcements, seeds_of

if TYPE_CHECKING:
    from anypop.cli.door import Door

NOW = "now"  # in place of a file: what control announces


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`now` and `wanted` are one where nothing is asked to change. `known`: what control told, where it was asked."""

    now: Announcements
    wanted: Announcements
    known: Known | None = None

    @property
    def homes(self) -> tuple[CityCode, ...]:
        """The PoPs that count as somebody's nearest, before and after alike: else a PoP that is gone would make everybody look better."""
        return tuple(sorted({*self.now.pops, *self.wanted.pops}))


def question(door: "Door", plan: Path | None, workload: str, rules: Sequence[str] = ()) -> Question:
    """What a command's options ask. `plan` needs no control process."""
    known = announced.from_control(door, workload) if plan is None else None
    now = known.announcements if known is not None else announced.from_file(_file(plan))
    return Question(now=now, wanted=announced.changed(now, rules), known=known)


def answer(ground: Ground, announcements: Announcements, homes: tuple[CityCode, ...]) -> Prediction:
    """Where everybody lands. Raises `Invalid` for sessions that the graph does not have."""
    refuse_unknown(ground, announcements)
    return predict(ground.engine, announcements, weights=ground.weights, pins=ground.pins(), homes=homes)


def refuse_unknown(ground: Ground, announcements: Announcements) -> None:
    """Upstreams that are not in the graph, each once: with thirty PoPs one missing network would be thirty problems."""
    missing: dict[int, list[str]] = {}
    for session in announcements.sessions:
        if not ground.internet.sites_of(session.asn):
            missing.setdefault(session.asn, []).append(f"{session.pop} to {session.upstream}")
    if missing:
        graph = ground.sources.says
        raise Invalid([Problem(path=f"AS{asn}", message=f"is not in {graph} ({', '.join(where)})") for asn, where in missing.items()])


def elsewhere(ground: Ground, announcements: Announcements) -> list[str]:
    """Upstreams that the graph does not have in the PoP's city: what they carry then starts in another one, which is worth knowing."""
    net = ground.internet
    found = []
    for session, seed in zip(announcements.sessions, seeds_of(net, announcements), strict=True):
        there = {net.city[site] for site in net.sites_of(session.asn)} - {""}
        if there and session.pop not in there:
            found.append(f"the footprint has no AS{session.asn} in {session.pop}: what it hears there enters in {net.city[seed.site]}")
    return list(dict.fromkeys(found))


def of_names(door: "Door", ground: "Ground | None", names: Sequence[str], workload: str) -> list[Prediction]:
    """Predictions of files (saved ones or plans) and of `now`. Plans and `now` need a graph."""
    texts = {name: None if name == NOW else announced.text_of(Path(name), "a saved prediction, a plan, or 'now'") for name in names}
    read = {name: saved.read(text, name) for name, text in texts.items() if text is not None and saved.is_saved(text)}
    asked = {
        name: announced.from_control(door, workload).announcements if text is None else plans.read(text, name)
        for name, text in texts.items()
        if name not in read
    }
    homes = tuple(sorted({pop for announcements in asked.values() for pop in announcements.pops}))
    if asked:
        assert ground is not None
        read |= {name: answer(ground, announcements, homes) for name, announcements in asked.items()}
    return [read[name] for name in names]


def need_graph(names: Sequence[str]) -> bool:
    """Whether some of these are no saved predictions."""
    return any(name == NOW or not saved.is_saved(announced.text_of(Path(name), "a saved prediction, a plan, or 'now'")) for name in names)


def _file(plan: Path | None) -> Path:
    assert plan is not None
    return plan
