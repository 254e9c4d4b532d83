"""What a worker process does for `predictions`: one question, whole, as plain data.

In: the files of a graph, what control knows, and what is asked. Out: an `Outcome`: data, or whose fault it is that
there is none. This module is imported by control too, which must not load numpy: everything heavy is imported by the
work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anypop.advice.graph import Sources
from anypop.advice.known import Known
from anypop.advice.waves import Key, Viewpoint
from anypop.model.announce import Prefix, Scope
from anypop.model.errors import Invalid, WorldError
from anypop.model.scopes import scope_data
from anypop.model.sessions import Announcements

if TYPE_CHECKING:
    from anypop.advice.graph import Graph
    from anypop.routing.paste.explained import Explained
    from anypop.routing.paste.pasted import Style


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionJob:
    """Where everybody lands as `wanted`, and `compare`: what moves from what is announced `now`. `top`: so many
    networks one by one.
    """

    sources: Sources
    known: Known
    now: Announcements
    wanted: Announcements
    compare: bool
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalJob:
    """So many of the worst `causes`, with so many `repairs` of each; further than `far_km` beyond the nearest PoP is
    too far. `tenant`: who asks is not the operator; `kept`: why he may not change how it is announced.
    """

    sources: Sources
    known: Known
    causes: int
    repairs: int
    far_km: float
    tenant: bool
    kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairJob:
    """`scopes` in place of those of now, PoP after PoP. `seen`: where each of the `places` lands now."""

    sources: Sources
    now: Announcements
    scopes: Mapping[Key, Scope]
    places: tuple[Viewpoint, ...]
    seen: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainJob:
    """What a router printed; of `prefix` alone, where that is given. `style`: None: seen from the text. `router`: whose
    it is, where the model is asked too.
    """

    text: str
    asn: int | None
    prefix: Prefix | None
    style: "Style | None"
    router: "RouterThere | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterThere:
    """A router of a network (`city` empty: the only one of its cities), by the graph and what is announced."""

    asn: int
    city: str
    sources: Sources
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`data`: the answer, and `notes`: what one should know of it. `unfit`: why what is announced and the graph do not
    go together, or what is wrong with a `field` of the question. `broken`: why the graph cannot be used.
    """

    data: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    unfit: str = ""
    field: str = ""
    broken: str = ""


def predict(job: PredictionJob) -> Outcome:
    """As `anypop catchment predict -o json`."""
    from anypop.advice.answers import answer_data  # noqa: PLC0415 - see the module
    from anypop.advice.question import Question, ask  # noqa: PLC0415

    try:
        graph = _loaded(job.sources)
    except (Invalid, WorldError) as error:
        return Outcome(broken=str(error))
    try:
        found = ask(graph, Question(now=job.now, wanted=job.wanted, known=job.known), compare=job.compare)
    except Invalid as error:
        return Outcome(unfit=str(error))
    return Outcome(data=answer_data(found, biggest=job.top, graph=graph.says), notes=(*graph.warnings, *found.notes))


def propose(job: ProposalJob) -> Outcome:
    """As `anypop doctor -o json`."""
    from anypop.advice import proposals  # noqa: PLC0415 - see the module
    from anypop.agent.act.bgp.proposed import bird_conf  # noqa: PLC0415

    known = job.known
    try:
        graph = _loaded(job.sources)
    except (Invalid, WorldError) as error:
        return Outcome(broken=str(error))
    place = proposals.Place(
        workload=known.workload,
        network=known.network,
        prefixes=known.prefixes,
        render=bird_conf,
        kept=job.kept,
        tenant=job.tenant,
    )
    try:
        found = proposals.diagnosed(
            graph, known.announcements, causes=job.causes, far_km=job.far_km, repairs=job.repairs
        )
    except Invalid as error:
        return Outcome(unfit=str(error))
    return Outcome(data=proposals.data(found, place, most=job.repairs, graph=graph.says), notes=graph.warnings)


def plan_repair(job: RepairJob) -> Outcome:
    """What a repair moves, and its waves with what each vantage should see after each."""
    from anypop.advice.answers import difference_data  # noqa: PLC0415 - see the module
    from anypop.advice.preview import compared  # noqa: PLC0415
    from anypop.advice.waves import waves_of  # noqa: PLC0415

    try:
        graph = _loaded(job.sources)
    except (Invalid, WorldError) as error:
        return Outcome(broken=str(error))
    try:
        change = compared(graph, job.now, job.now.with_scopes(job.scopes))
        plan = waves_of(graph, job.now, job.scopes, job.places, job.seen)
    except Invalid as error:
        return Outcome(unfit=str(error))
    waves = [
        {
            "pop": wave.pop,
            "rules": [
                {"pop": pop, "upstream": upstream, "scope": scope_data(scope)}
                for (pop, upstream), scope in wave.scopes.items()
            ],
            "expected": {vantage: sorted(pops) for vantage, pops in sorted(wave.expected.items())},
        }
        for wave in plan.waves
    ]
    data = {
        "graph": graph.says,
        "predicted": difference_data(change),
        "seen": dict(job.seen),
        "waves": waves,
        "doubts": [doubt.says for doubt in plan.doubts],
    }
    return Outcome(data=data, notes=graph.warnings)


def explain(job: ExplainJob) -> Outcome:
    """As `anypop route explain -o json`."""
    from anypop.routing.paste import sentences  # noqa: PLC0415 - see the module
    from anypop.routing.paste.explained import explain as judged  # noqa: PLC0415
    from anypop.routing.paste.read import read  # noqa: PLC0415

    try:
        told = judged(read(job.text, style=job.style), asn=job.asn)
    except Invalid as error:
        return Outcome(unfit=str(error), field="text")
    found = [one for one in told if job.prefix is None or one.prefix == job.prefix]
    if not found:
        return Outcome(unfit=f"no route to {job.prefix} is in it", field="text")
    results = [sentences.data(one) for one in found]
    if job.router is None:
        return Outcome(data={"results": results})
    return _expected(job.router, found, results)


def _expected(router: RouterThere, found: "Sequence[Explained]", results: list[dict[str, Any]]) -> Outcome:
    """As `--at` adds it to each decision."""
    from anypop.advice import expected, named_sites  # noqa: PLC0415 - see the module
    from anypop.advice.question import question_of  # noqa: PLC0415

    try:
        graph = _loaded(router.sources)
    except (Invalid, WorldError) as error:
        return Outcome(broken=str(error))
    question = question_of(router.known.announcements, known=router.known)
    try:
        row = expected.at(graph, question, named_sites.site_of(graph.internet, router.asn, router.city))
    except named_sites.NoSiteError as error:
        return Outcome(unfit=str(error), field="at")
    except Invalid as error:
        return Outcome(unfit=str(error))
    for one, data in zip(found, results, strict=True):
        expected.add(data, expected.beside(one, row, question, graph))
    return Outcome(data={"results": results}, notes=graph.warnings)


def _loaded(sources: Sources) -> "Graph":
    from anypop.advice import graph  # noqa: PLC0415 - see the module

    if sources.lab is None:
        return graph.load(sources)
    from anypop.lab import build  # noqa: PLC0415
    from anypop.lab.model import modelled  # noqa: PLC0415

    made = modelled(build.attach(sources.lab.parent).plan)
    return graph.load(sources, graph.Topology(internet=made.internet, policies=made.policies))
