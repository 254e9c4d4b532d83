r"""The JSONPath subset in which a container asks for fields of its instance.

In: a path such as `.location.cityCode`, `.networkInterfaces[?(@.network=="default")].gateway` or
`.metadata.labels['a\.b/c']`, and plain data. Out: the one value there, as text. Kubernetes' dialect: no leading `$` is
needed, braces around it are allowed, and a dot inside a quoted key is escaped.
"""

import re
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""
      \.(?P<name>[A-Za-z_][\w-]*)
    | \[(?P<index>[0-9]{1,6})\]
    | \[(?P<quote>['"])(?P<key>(?:\\.|(?!(?P=quote)).)+)(?P=quote)\]
    | \[\?\(\s*@\.(?P<field>\w+)\s*==\s*(?P<mark>['"])(?P<value>.*?)(?P=mark)\s*\)\]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The first member of a list whose `field` is `value`."""

    field: str
    value: str


Step = str | int | Matching


def steps_of(path: str) -> tuple[Step, ...]:
    """The steps of a path. ValueError, in words for the user, where it is not of the subset."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(
                f"cannot read {text[at:]!r}; paths look like .location.cityCode or .metadata.labels['role']"
            )
        if found["name"]:
            steps.append(found["name"])
        elif found["index"]:
            steps.append(int(found["index"]))
        elif found["key"]:
            steps.append(re.sub(r"\\(.)", r"\1", found["key"]))
        else:
            steps.append(Matching(field=found["field"], value=found["value"]))
        at = found.end()
    if not steps:
        raise ValueError("is empty; paths look like .location.cityCode")
    return tuple(steps)


def value_at(steps: tuple[Step, ...], data: Any) -> str | None:
    """The text of the scalar at the end of the steps; None where there is none."""
    for step in steps:
        match step:
            case str():
                data = data.get(step) if isinstance(data, dict) else None
            case int():
                data = data[step] if isinstance(data, list) and step < len(data) else None
            case Matching():
                rows = data if isinstance(data, list) else []
                data = next((r for r in rows if isinstance(r, dict) and str(r.get(step.field)) == step.value), None)
    if data is None or isinstance(data, dict | list):
        return None
    return str(data)
