"""Which graph of the Internet a question is asked of: options, environment and the state folder in, a `Ground` out.

In this order: the options; ANYPOP_GRAPH, ANYPOP_OVERRIDES, ANYPOP_FOOTPRINT; `graph.yaml` in the state folder (`graph:`, `overrides:`,
`footprint:`, `weights:`, `observations:`, relative to it); the lab's own topology where the platform is a lab. Reads files and nothing
else. A graph of 75,000 networks loads in 0.6 s of one core, so none is cached.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anypop.cli.failure import Exit, Failure, usage

if TYPE_CHECKING:
    from anypop.cli.door import Door
    from anypop.lab.address import LabPlan
    from anypop.routing.catchment.observations import Observation
    from anypop.routing.engine.propagate import Engine
    from anypop.routing.internet.sites import Internet

File = Path | None
GraphFile = Annotated[
    File, typer.Option("--graph", metavar="FILE", help="AS relationships: CAIDA serial-1 or serial-2, or CSV; plain, gz or bz2.")
]
Overrides = Annotated[File, typer.Option("--overrides", metavar="FILE", help="CSV of relationships that are known better.")]
Footprint = Annotated[File, typer.Option("--footprint", metavar="FILE", help="CSV of the cities of networks: asn,cities.")]
Weights = Annotated[File, typer.Option("--weights", metavar="FILE", help="CSV of users (or traffic) per network: asn,weight.")]
Observed = Annotated[File, typer.Option("--observations", metavar="FILE", help="Measurements that overrule the model.")]

_ADVICE = "Give --graph FILE, set ANYPOP_GRAPH, or write graph.yaml; 'anypop catchment generate' makes one for who has none."
_KEYS = ("graph", "overrides", "footprint", "weights", "observations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Files, each where it was given. `lab`: a lab.json, when no graph was."""

    graph: File = None
    overrides: File = None
    footprint: File = None
    weights: File = None
    observations: File = None
    lab: File = None

    @property
    def says(self) -> str:
        """For people: which graph this is."""
        if self.graph is None:
            return "the lab's own topology"
        with_ = [p.name for p in (self.overrides, self.footprint) if p is not None]
        return self.graph.name + (f" with {' and '.join(with_)}" if with_ else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A graph ready for questions. `plan`: of the lab that it is. `weights` per AS, None: all equal. `warnings`: what is odd about it."""

    engine: "Engine"
    sources: Sources
    weights: Mapping[int, float] | None = None
    observations: "tuple[Observation, ...]" = ()
    plan: "LabPlan | None" = None
    warnings: tuple[str, ...] = ()

    @property
    def internet(self) -> "Internet":
        return self.engine.internet

    def pins(self) -> dict[int, str]:
        """Per site where it was measured."""
        from anypop.routing.catchment.observations import pins_of  # noqa: PLC0415 - only where there are some

        return pins_of(self.internet, self.observations) if self.observations else {}


def sources(door: "Door", given: Sources, environment: Mapping[str, str] = os.environ) -> Sources | None:
    """The files meant; None where there is no graph at all. Raises `Failure` for a graph.yaml that is wrong."""
    told = {key: getattr(given, key) for key in _KEYS}
    for key in _KEYS[:3]:
        if told[key] is None and given.graph is None and environment.get(f"ANYPOP_{key.upper()}"):
            told[key] = Path(environment[f"ANYPOP_{key.upper()}"])
    folder = door.folder
    try:
        written = _settings(folder / "graph.yaml")
        lab = folder / "lab" / "lab.json"
        known = folder / "observations.csv"
        is_lab, is_observed = lab.is_file(), known.is_file()
    except PermissionError:  # another user's state folder: as if there were none
        written, is_lab, is_observed = {}, False, False
    for key, path in written.items():
        # An override or a footprint belongs to the graph that it was written for.
        if told[key] is None and (told["graph"] is None or key not in _KEYS[1:3] or told["graph"] == written.get("graph")):
            told[key] = path
    if told["observations"] is None and is_observed:
        told["observations"] = known
    if told["graph"] is None and not is_lab:
        return None
    return Sources(**told, lab=lab if told["graph"] is None else None)


def ground(door: "Door", given: Sources) -> Ground:
    """The graph meant, loaded. Raises `Failure` where there is none, and `Invalid` with every problem of its files."""
    found = sources(door, given)
    if found is None:
        raise Failure("no graph of the Internet is known here", code=Exit.USAGE, advice=_ADVICE)
    return load(found)


def load(found: Sources) -> Ground:
    """Read all files. Problems of all of them are told together."""
    from anypop.model.errors import Invalid, Problem  # noqa: PLC0415 - numpy is behind what follows
    from anypop.routing.catchment.observations import read_csv  # noqa: PLC0415
    from anypop.routing.engine.small import engine_for  # noqa: PLC0415

    problems: list[Problem] = []

    def part(path: File, read: Callable[[bytes, str], Any], default: Any) -> Any:
        if path is None:
            return default
        try:
            return read(_bytes(path), str(path))
        except Invalid as error:
            problems.extend(error.problems)
            return default

    weights = part(found.weights, lambda data, file: read_weights(_text(data, file), file), None)
    observations = part(found.observations, lambda data, file: read_csv(_text(data, file), file), ())
    plan: LabPlan | None = None
    warnings: tuple[str, ...] = ()
    if found.graph is None:
        internet, policies, plan = _of_lab(found)
    else:
        internet, warnings = _of_files(found, part, problems)
        policies = None
    if problems:
        raise Invalid(problems)
    assert internet is not None
    if weights is not None and not any(weights.get(asn) for asn in internet.asns.tolist()):
        raise Invalid.one(str(found.weights), f"gives no network of {found.says} a weight above 0: nobody would count")
    engine = engine_for(internet, policies) if policies is not None else engine_for(internet)
    return Ground(engine=engine, sources=found, weights=weights, observations=observations, plan=plan, warnings=warnings)


def _of_files(
    found: Sources, part: Callable[[File, Callable[[bytes, str], Any], Any], Any], problems: list[Any]
) -> "tuple[Internet | None, tuple[str, ...]]":
    from anypop.routing.internet.places import NOWHERE, read_places  # noqa: PLC0415 - see `load`
    from anypop.routing.internet.relationships import apply_overrides, provider_loops, read_relationships  # noqa: PLC0415
    from anypop.routing.internet.world import build_internet  # noqa: PLC0415

    links = part(found.graph, read_relationships, None)
    if links is not None and found.overrides is not None:
        base = links
        links = part(found.overrides, lambda data, file: apply_overrides(base, read_relationships(data, file, overrides=True)), base)
    places = part(found.footprint, lambda data, file: read_places(_text(data, file), file), NOWHERE)
    if problems or links is None:
        return None, ()
    # Such a loop is an error of the data that still propagates: said, not refused.
    return build_internet(links, places), tuple(str(problem) for problem in provider_loops(links))


def _of_lab(found: Sources) -> Any:
    from anypop.lab import build  # noqa: PLC0415 - only for labs
    from anypop.lab.model import modelled  # noqa: PLC0415

    assert found.lab is not None
    plan = build.attach(found.lab.parent).plan
    made = modelled(plan)
    return made.internet, made.policies, plan


def read_weights(text: str, file: str) -> dict[int, float]:
    """`asn,weight` rows. Raises `Invalid` with every wrong row."""
    from anypop.model.errors import Invalid, Problem  # noqa: PLC0415 - see `load`

    found: dict[int, float] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or line.lstrip().startswith("#") or cells[0].lower() == "asn":
            continue
        asn = cells[0].upper().removeprefix("AS")
        try:
            value = float(cells[1]) if len(cells) == 2 else -1.0
        except ValueError:
            value = -1.0
        if not (asn.isascii() and asn.isdigit()) or not 0 <= value < float("inf"):
            problems.append(Problem(path=f"{file}:{number}", message="must be an AS number and a weight, 0 or more: 3356,120000"))
        elif int(asn) in found:
            problems.append(Problem(path=f"{file}:{number}", message=f"AS{asn} has an earlier row"))
        else:
            found[int(asn)] = value
    if problems:
        raise Invalid(problems)
    return found


def _settings(file: Path) -> dict[str, Path]:
    """The files that graph.yaml names."""
    if not file.is_file():
        return {}
    import yaml  # noqa: PLC0415 - only where there is such a file

    try:
        data = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise usage(f"{file} is not YAML: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise usage(f"{file} must name files: {', '.join(_KEYS)}")
    if unknown := [str(key) for key in data if key not in _KEYS]:
        raise usage(f"{file}: {', '.join(unknown)} is none of {', '.join(_KEYS)}")
    return {str(key): file.parent / value for key, value in data.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise usage(f"{path} cannot be read: {error.strerror}") from error


def _text(data: bytes, file: str) -> str:
    from anypop.model.errors import Invalid  # noqa: PLC0415 - see `load`

    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid.one(file, "is not text in UTF-8") from error


def given(graph: File = None, overrides: File = None, footprint: File = None, weights: File = None, observations: File = None) -> Sources:
    """The options of a command."""
    return replace(Sources(), graph=graph, overrides=overrides, footprint=footprint, weights=weights, observations=observations)
