"""Which graph of the Internet a question is asked of: files named by somebody, found or given, in, a `Graph` out.

In this order: the files that were named; ANYPOP_GRAPH, ANYPOP_OVERRIDES, ANYPOP_FOOTPRINT; `graph.yaml` in a folder
(`graph:`, `overrides:`, `footprint:`, `weights:`, `observations:`, `history:`, relative to it); a lab's own topology,
where a lab is in that folder. Reads these files and nothing else, but for a large graph that was loaded before
(`kept_graph`). Numpy is imported by what loads, not by what only looks for files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anypop.model.errors import Invalid, Problem

if TYPE_CHECKING:
    from anypop.advice.history import Kept
    from anypop.routing.catchment.observations import Observation
    from anypop.routing.engine.propagate import Engine
    from anypop.routing.engine.seeds import Policies
    from anypop.routing.internet.sites import Internet

FILES = ("graph", "overrides", "footprint", "weights", "observations", "history")
File = Path | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Files, each where it was named. `lab`: a lab's lab.json, when no graph was."""

    graph: File = None
    overrides: File = None
    footprint: File = None
    weights: File = None
    observations: File = None
    history: File = None
    lab: File = None

    @property
    def says(self) -> str:
        """For people: which graph this is."""
        if self.graph is None:
            return "the lab's own topology"
        with_ = [p.name for p in (self.overrides, self.footprint) if p is not None]
        return self.graph.name + (f" with {' and '.join(with_)}" if with_ else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A graph that is known without files: a lab's routers, and what its networks make of communities."""

    internet: "Internet"
    policies: "Policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph ready for questions. `says`: which it is, for people. `weights` per AS, None: all equal. `warnings`: what
    is odd about it.
    """

    engine: "Engine"
    says: str
    weights: Mapping[int, float] | None = None
    observations: "tuple[Observation, ...]" = ()
    history: "tuple[Kept, ...]" = ()
    warnings: tuple[str, ...] = ()

    @property
    def internet(self) -> "Internet":
        return self.engine.internet

    def pins(self) -> dict[int, str]:
        """Per site where it was measured."""
        from anypop.routing.catchment.observations import pins_of  # noqa: PLC0415 - only where there are some

        return pins_of(self.internet, self.observations) if self.observations else {}


def find(given: Sources, *, folder: Path, environment: Mapping[str, str]) -> Sources | None:
    """The files meant; None where there is no graph at all. Raises `Invalid` for a graph.yaml that is wrong."""
    told: dict[str, File] = {name: getattr(given, name) for name in FILES}
    for name in FILES[:3]:
        if told[name] is None and given.graph is None and environment.get(f"ANYPOP_{name.upper()}"):
            told[name] = Path(environment[f"ANYPOP_{name.upper()}"])
    lab, known = folder / "lab" / "lab.json", folder / "observations.csv"
    try:
        written = _settings(folder / "graph.yaml")
        is_lab, is_observed = lab.is_file(), known.is_file()
    except PermissionError:  # another user's folder: as if there were none
        written, is_lab, is_observed = {}, False, False
    for name, path in written.items():
        # An override or a footprint belongs to the graph that it was written for.
        if told[name] is None and (
            told["graph"] is None or name not in FILES[1:3] or told["graph"] == written.get("graph")
        ):
            told[name] = path
    if told["observations"] is None and is_observed:
        told["observations"] = known
    if told["graph"] is None and not is_lab:
        return None
    return Sources(**told, lab=lab if told["graph"] is None else None)


def load(found: Sources, topology: Topology | None = None) -> Graph:
    """Read all files. `topology`: of the lab, where no graph was named. Raises `Invalid` with the problems of all of
    them together.
    """
    from anypop.routing.catchment.observations import read_csv  # noqa: PLC0415 - numpy is behind what follows
    from anypop.routing.engine.small import engine_for  # noqa: PLC0415

    problems: list[Problem] = []
    weights = _part(problems, found.weights, lambda data, file: read_weights(_text(data, file), file), None)
    observations: tuple[Observation, ...] = _part(
        problems, found.observations, lambda data, file: read_csv(_text(data, file), file), ()
    )
    kept: tuple[Kept, ...] = ()
    if found.history is not None:
        from anypop.advice import history  # noqa: PLC0415 - it asks for graphs itself

        try:
            kept = history.read(found.history)
        except Invalid as error:
            problems.extend(error.problems)
    internet, warnings = (topology.internet, ()) if topology is not None else _of_files(found, problems)
    if problems:
        raise Invalid(problems)
    assert internet is not None
    if weights is not None and not any(weights.get(asn) for asn in internet.asns.tolist()):
        raise Invalid.one(str(found.weights), f"gives no network of {found.says} a weight above 0: nobody would count")
    return Graph(
        engine=engine_for(internet, topology.policies) if topology is not None else engine_for(internet),
        says=found.says,
        weights=weights,
        observations=observations,
        history=kept,
        warnings=warnings,
    )


def _part(problems: list[Problem], path: File, read: Callable[[bytes, str], T], default: T) -> T:
    """One file's content; `default` where none was named, or where it is wrong, which `problems` then say."""
    return default if path is None else _checked(problems, lambda: read(_bytes(path), str(path)), default)


def _checked(problems: list[Problem], read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except Invalid as error:
        problems.extend(error.problems)
        return default


def _of_files(found: Sources, problems: list[Problem]) -> "tuple[Internet | None, tuple[str, ...]]":
    from anypop.advice import kept_graph  # noqa: PLC0415 - see `load`
    from anypop.routing.internet.places import NOWHERE, read_places  # noqa: PLC0415
    from anypop.routing.internet.relationships import (  # noqa: PLC0415
        Relationships,
        apply_overrides,
        provider_loops,
        read_relationships,
    )
    from anypop.routing.internet.world import build_internet  # noqa: PLC0415

    files = (found.graph, found.overrides, found.footprint)
    contents = {path: _part(problems, path, lambda data, file: data, None) for path in files}
    name = kept_graph.digest([*(contents[path] for path in files), *(str(path).encode() for path in files)])
    if all(path is None or contents[path] is not None for path in files):
        before = kept_graph.kept(name)
        if before is not None:
            return before

    def part(path: File, read: Callable[[bytes, str], T], default: T) -> T:
        content = contents[path]
        return default if content is None else _checked(problems, lambda: read(content, str(path)), default)

    links: Relationships | None = part(found.graph, read_relationships, None)
    if links is not None:
        base = links
        links = part(
            found.overrides,
            lambda data, file: apply_overrides(base, read_relationships(data, file, overrides=True)),
            base,
        )
    places = part(found.footprint, lambda data, file: read_places(_text(data, file), file), NOWHERE)
    if problems or links is None:
        return None, ()
    internet = build_internet(links, places)
    # Such a loop is an error of the data that still propagates: said, not refused.
    warnings = tuple(str(problem) for problem in provider_loops(links))
    kept_graph.keep(name, internet, warnings)
    return internet, warnings


def read_weights(text: str, file: str) -> dict[int, float]:
    """`asn,weight` rows. Raises `Invalid` with every wrong row."""
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
            problems.append(
                Problem(path=f"{file}:{number}", message="must be an AS number and a weight, 0 or more: 3356,120000")
            )
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
        data: Any = yaml.safe_load(_text(file.read_bytes(), str(file)))
    except yaml.YAMLError as error:
        raise Invalid.one("", f"{file} is not YAML: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise Invalid.one("", f"{file} must name files: {', '.join(FILES)}")
    if unknown := [str(key) for key in data if key not in FILES]:
        raise Invalid.one("", f"{file}: {', '.join(unknown)} is none of {', '.join(FILES)}")
    return {str(key): file.parent / value for key, value in data.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid.one("", f"{path} cannot be read: {error.strerror}") from error


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid.one(file, "is not text in UTF-8") from error
