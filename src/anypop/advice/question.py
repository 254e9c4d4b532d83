"""A question to the model: which announcements, over which graph; and its answer.

In: a `Graph`, and what we announce, as control's rows and network say it or as a plan file does. Out: `Prediction`s
that can be compared, since all count the same PoPs as somebody's nearest. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anypop.advice import what_if
from anypop.advice.graph import Graph
from anypop.advice.known import Known
from anypop.model.announce import Mode
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.model.sessions import Announcements
from anypop.routing.catchment.diff import Diff, diff
from anypop.routing.catchment.predict import Prediction, predict
from anypop.routing.catchment.sessions import seeds_of
from anypop.routing.catchment.strays import networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`now` and `wanted` are one where nothing is asked to change. `known`: what control told, where it was asked."""

    now: Announcements
    wanted: Announcements
    known: Known | None = None

    @property
    def homes(self) -> tuple[CityCode, ...]:
        """The PoPs that count as somebody's nearest, before and after alike: else a PoP that is gone would make
        everybody look better.
        """
        return tuple(sorted({*self.now.pops, *self.wanted.pops}))

    @property
    def onward(self) -> Mapping[str, str]:
        """By PoP, which other one answers what comes in there."""
        return self.known.onward if self.known is not None else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where everybody lands as `wanted`; `before`, `change`: as it is `now`, and against that, where a change was asked
    about. `notes`: what one should know of it.
    """

    prediction: Prediction
    before: Prediction | None
    change: Diff | None
    notes: tuple[str, ...]


def question_of(
    now: Announcements, rules: Sequence[str] = (), paths: Sequence[str] = (), *, known: Known | None = None
) -> Question:
    """What rules ask of these announcements. Raises `Invalid` with every rule that does not fit, by its path."""
    return Question(now=now, wanted=what_if.changed(now, rules, paths), known=known)


def ask(graph: Graph, question: Question, *, compare: bool) -> Answer:
    """The whole answer. `compare`: also with what is announced now. Raises `Invalid` for sessions that the graph does
    not have.
    """
    found = predicted(graph, question.wanted, question.homes)
    before = predicted(graph, question.now, question.homes) if compare else None
    return Answer(
        prediction=found,
        before=before,
        change=diff(before, found) if before is not None else None,
        notes=(
            *_notes(graph, question.wanted, found),
            *(f"what comes in at {pop} is answered in {to}" for pop, to in sorted(question.onward.items())),
            *(question.known.doubts if question.known is not None else ()),
        ),
    )


def predicted(graph: Graph, announcements: Announcements, homes: tuple[CityCode, ...]) -> Prediction:
    """Where everybody lands. Raises `Invalid` for sessions that the graph does not have."""
    refuse_unknown(graph, announcements)
    if graph.history:
        from anypop.advice import history  # noqa: PLC0415 - only where something was measured

        return history.learnt(graph, announcements, homes, graph.history)
    return predict(graph.engine, announcements, weights=graph.weights, pins=graph.pins(), homes=homes)


def known_alone(graph: Graph, announcements: Announcements) -> tuple[Announcements, tuple[str, ...]]:
    """The sessions to networks that the graph has, and a sentence for each network that it does not."""
    missing = _unknown(graph, announcements)
    kept = tuple(s for s in announcements.sessions if s.asn not in missing or s.kind is UpstreamKind.EDGE)
    says = tuple(
        f"AS{asn} is not in {graph.says}: what it hears is left out ({', '.join(at)})" for asn, at in missing.items()
    )
    return replace(announcements, sessions=kept), says


def refuse_unknown(graph: Graph, announcements: Announcements) -> None:
    """Upstreams that are not in the graph, each once: with thirty PoPs one missing network would be thirty problems."""
    if missing := _unknown(graph, announcements):
        raise Invalid(
            [
                Problem(path=f"AS{asn}", message=f"is not in {graph.says} ({', '.join(at)})")
                for asn, at in missing.items()
            ]
        )


def _unknown(graph: Graph, announcements: Announcements) -> dict[int, list[str]]:
    """Networks that are not in the graph, and where they would hear us."""
    missing: dict[int, list[str]] = {}
    for session in announcements.sessions:
        if session.kind is not UpstreamKind.EDGE and not graph.internet.sites_of(session.asn):
            missing.setdefault(session.asn, []).append(f"{session.pop} to {session.upstream}")
    return missing


def _notes(graph: Graph, announcements: Announcements, found: Prediction) -> Iterator[str]:
    if found.learnt:
        yield found.learnt
    for session in announcements.sessions:
        if session.silent and session.scope.mode is Mode.ANNOUNCE:
            yield f"{session.pop} to {session.upstream} is not out: {session.silent}; as if it were withheld"
    yield from dict.fromkeys(_elsewhere(graph, announcements))
    if not found.outcome.stable:
        yield "the preferences asked for never come to rest: what is shown is one moment of it"
    if found.outcome.others:
        ends = (found.outcome.pop_index(), *(end.pop_index() for end in found.outcome.others))
        moved = np.any([end != ends[0] for end in ends[1:]], axis=0)
        yield (
            f"the preferences asked for have {len(ends)} stable ends at least, and which one holds depends on what is "
            f"announced first: {networks(graph.internet, moved):,} networks land elsewhere in another"
        )


def _elsewhere(graph: Graph, announcements: Announcements) -> Iterator[str]:
    """Upstreams that the graph does not have in the PoP's city: what they carry then starts in another one, which is
    worth knowing.
    """
    net = graph.internet
    for session, seed in zip(announcements.sessions, seeds_of(net, announcements), strict=True):
        there = {net.city[site] for site in net.sites_of(session.asn)} - {""}
        if there and session.pop not in there:
            yield (
                f"the footprint has no AS{session.asn} in {session.pop}: what it hears there enters in "
                f"{net.city[seed.site]}"
            )
