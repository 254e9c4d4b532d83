"""What a workload's page shows of the API's answers: how it is at a glance, instances by place, addresses. Pure.

In: a workload and its instances as the API tells them. Out: plain values for templates. It judges nothing: an instance
runs when the API says so, and what is not known is counted as not known.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anypop.portal import words

Data = Mapping[str, Any]

NOBODY: Data = {"phases": {}, "healthy": 0}
ANYCAST = "anycast.platform.stackpath.net/subnets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """`style` and `word`: of the workload as a whole; `running` of `total` instances, `ill` of which do not answer."""

    word: str
    style: str
    running: int
    total: int
    ill: int

    @property
    def counted(self) -> str:
        return f"{self.running} of {self.total} running" + (f", {self.ill} not healthy" if self.ill else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """One city with its instances."""

    code: str
    name: str
    country: str
    instances: tuple[Data, ...]
    glance: Glance


@dataclass(frozen=True, slots=True, kw_only=True)
class Continent:
    name: str
    cities: tuple[City, ...]


def glance(counted: Data, *, leaving: bool = False) -> Glance:
    """Of a summary (or one of its cities), in one word: the worst that holds for any instance."""
    styles: Counter[str] = Counter()
    for phase, count in counted["phases"].items():
        styles[words.state(phase)[0]] += count
    running, total = styles["Running"], styles.total()
    ill = running - int(counted["healthy"])
    if leaving:
        word, style = "Deleting", "way"
    elif not total:
        word, style = "No instances", "off"
    elif styles["Failed"] or styles["Stopped"]:
        word, style = "Failing", "bad"
    elif ill:
        word, style = words.NOT_HEALTHY
    elif running == total:
        word, style = "Running", "good"
    elif styles["Unknown"]:
        word, style = "Unknown", "off"
    else:
        word, style = "Starting", "way"
    return Glance(word=word, style=style, running=running, total=total, ill=ill)


def by_place(instances: Iterable[Data], counted: Iterable[Data]) -> tuple[Continent, ...]:
    """Continents and cities by name, with how it is there as a whole (`counted`: a summary's cities); instances as the
    API orders them. A city none of whose instances is on this page is left out.
    """
    known = {str(one["cityCode"]): one for one in counted}
    places: dict[str, dict[str, list[Data]]] = {}
    for one in instances:
        place = one.get("location", {})
        places.setdefault(str(place.get("continent", "Elsewhere")), {}).setdefault(
            str(place.get("cityCode", "")), []
        ).append(one)
    return tuple(
        Continent(
            name=name,
            cities=tuple(
                sorted(
                    (_city(code, here, known.get(code, NOBODY)) for code, here in cities.items()),
                    key=lambda city: city.name,
                )
            ),
        )
        for name, cities in sorted(places.items())
    )


def _city(code: str, here: list[Data], counted: Data) -> City:
    place = here[0].get("location", {})
    return City(
        code=code,
        name=str(place.get("city", code)),
        country=str(place.get("country", "")),
        instances=tuple(here),
        glance=glance(counted),
    )


def anycast(workload: Data) -> tuple[str, ...]:
    """The addresses that are the same everywhere, without their lengths."""
    annotations = workload.get("metadata", {}).get("annotations", {})
    return tuple(part.partition("/")[0] for part in str(annotations.get(ANYCAST, "")).split(",") if part)


def images(workload: Data) -> tuple[str, ...]:
    return tuple(str(one.get("image", "")) for one in _units(workload))


def _units(workload: Data) -> list[Data]:
    """Its containers, or its virtual machine."""
    spec = workload.get("spec", {})
    return [*spec.get("containers", {}).values(), *spec.get("virtualMachines", {}).values()]


def ports(workload: Data) -> tuple[str, ...]:
    """`80` and `53/udp`, each once."""
    found: dict[str, None] = {}
    for unit in _units(workload):
        for port in unit.get("ports", {}).values():
            protocol = str(port.get("protocol", "TCP")).lower()
            found[f"{port.get('port')}" + ("" if protocol == "tcp" else f"/{protocol}")] = None
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A group of cities as declared. `most`: where the number follows the load."""

    name: str
    cities: tuple[str, ...]
    least: int
    most: int | None


def targets(workload: Data) -> tuple[Target, ...]:
    return tuple(_target(name, one) for name, one in workload.get("targets", {}).items())


def _target(name: str, declared: Data) -> Target:
    deployments = declared.get("spec", {}).get("deployments", {})
    cities = [str(v) for s in deployments.get("selectors", ()) for v in s.get("values", ())]
    most = deployments.get("maxReplicas")
    scales = bool(deployments.get("scaleSettings"))
    return Target(
        name=name,
        cities=tuple(cities),
        least=int(deployments.get("minReplicas", 1)),
        most=int(most) if most is not None and scales else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Where a page of a list stands. `earlier`, `later`: where the pages beside it begin, None where there is none."""

    first: int
    last: int
    total: int
    earlier: int | None
    later: int | None


def pages(begin: int, size: int, total: int) -> Pages:
    end = min(begin + size, total)
    return Pages(
        first=begin + 1,
        last=end,
        total=total,
        earlier=max(0, begin - size) if begin else None,
        later=end if end < total else None,
    )
