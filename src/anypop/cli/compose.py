"""A Compose file as workloads: each service becomes one, in the cities that are asked for.

In: the document of the file, the environment for its `${...}`, where its services shall run. Out: for each service the
body of a workload, and what of it is done another way than written. What is not taken is refused, all of it at once,
each with its path; nothing is left out in silence. It reads the files that `env_file` names and nothing else.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypop.cli.compose_service import Made, made_of
from anypop.cli.compose_values import Problems
from anypop.cli.failure import usage

_TAKEN = {"services", "name", "version", "volumes", "networks"}
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<other>[^{}]*))?\}|(?P<wrong>))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a Compose file does not say: its cities, and whether what publishes ports gets an anycast address.
    `any_city`: only the names matter.
    """

    cities: tuple[str, ...] = ()
    anycast: bool = False
    any_city: bool = False


def is_compose(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("services"), dict)


def workloads_of(
    document: dict[str, Any], *, where: str, folder: Path, wishes: Wishes
) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """(slug, workload, notes) of each service. `folder`: where its paths begin. `Failure` with every problem."""
    problems = Problems()
    whole = _interpolated(document, os.environ, "", problems)
    for key in whole:
        if key not in _TAKEN and not str(key).startswith("x-"):
            problems.add(str(key), _WHOLE.get(str(key), "is not taken"))
    volumes = whole.get("volumes") or {}
    if not isinstance(volumes, dict):
        problems.add("volumes", "must be an object")
        volumes = {}
    for name, network in (whole.get("networks") or {}).items():
        if name != "default" or network:
            problems.add(f"networks.{name}", "is not taken: services of one stack are in one network, 'default'")
    made: list[Made] = []
    for name, service in whole["services"].items():
        path = f"services.{name}"
        if not isinstance(service, dict):
            problems.add(path, "must be an object")
            continue
        made.append(made_of(str(name), service, volumes=volumes, folder=folder, problems=problems))
    for one in made:
        if not (one.cities or wishes.cities or wishes.any_city):
            problems.add(f"services.{one.name}", "needs cities: --cities AMS,LHR, or 'x-anypop: {cities: [AMS]}' in it")
    if problems.found:
        raise usage(
            f"{where} cannot be taken",
            problems=[f"{where}: {text}" for text in problems.found],
            advice="docs/cli.md lists what is taken of a Compose file.",
        )
    for one in made:
        yield one.slug, one.workload(wishes.cities, anycast=wishes.anycast), tuple(one.notes)


_WHOLE = {
    "secrets": "is not taken: give a service its secrets by 'x-anypop: {secrets: [NAME]}', from the environment",
    "configs": "is not taken: put files into the image, or values into the environment",
    "include": "is not taken: name the files with -f",
}


def _interpolated(value: Any, environment: Mapping[str, str], path: str, problems: Problems) -> Any:
    """`value` with its `${NAME}`, `${NAME:-other}`, `${NAME:?why}`, `${NAME:+other}` and `$$`."""
    if isinstance(value, dict):
        return {k: _interpolated(v, environment, f"{path}.{k}" if path else str(k), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(v, environment, f"{path}[{n}]", problems) for n, v in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def filled(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name = found["plain"] or found["name"]
        if name is None:
            problems.add(path, "has a '$' that begins no variable; write '$$' for the sign itself")
            return "$"
        given, how, other = environment.get(name), found["how"] or "", found["other"] or ""
        there = bool(given) if how.startswith(":") else given is not None
        match how[-1:]:
            case "-":
                return str(given) if there else other
            case "+":
                return other if there else ""
            case "?" if not there:
                problems.add(path, f"needs {name} in the environment: {other or 'it is not set'}")
            case "" if not there:
                problems.add(path, f"needs {name} in the environment; or write ${{{name}:-}} for an empty text")
        return given or ""

    return _VARIABLE.sub(filled, value)
