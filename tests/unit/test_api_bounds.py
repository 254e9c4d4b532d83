"""No text without an end: every text, key and list that may be sent has a maximum, and the maximum is held."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from anypop.api import openapi
from anypop.api.app import ROUTERS
from anypop.model import limits
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.plan.parse import parse
from anypop.plan.schema import WorkloadBody

DOCUMENT = openapi.description(ROUTERS)
SCHEMAS = DOCUMENT["components"]["schemas"]
# What only the operator or an agent can send: of these the body's own limits are enough.
TRUSTED = {"replace_network", "replace_prices", "take_report", "take_sources", "measure_catchment"}
# What is given to a program or kept for other programs may be as long as any text; no other field of a tenant may.
LONG = {"value", "secretValue", "command", "args", "annotations", "userData"}
# What a router printed, read once in a process of its own and kept nowhere.
PASTED = "explain_routes.text"
# A change, which is put into what is there: the whole is asked.
CHANGES = {"merge_workload.workload", "preview_change.workload"}
# Accepted since clients send back what they read, and not even looked at.
DROPPED = {
    "virtualNetworkIdentifier",
    "version",
    "createdAt",
    "updatedAt",
    "deleteRequestedAt",
    "resourceName",
    "id",
    "stackId",
    "family",
    "tag",
    "networkId",
    "status",
    "statuses",
}

Found = tuple[str, str, dict[str, Any]]


def walked(schema: dict[str, Any], way: tuple[str, ...], seen: frozenset[str] = frozenset()) -> Iterator[Found]:
    """(operation and path, name of the field, schema) of everything that a body or a parameter may hold."""
    if (reference := schema.get("$ref")) is not None:
        if reference not in seen:
            yield from walked(SCHEMAS[reference.rpartition("/")[2]], way, seen | {reference})
        return
    name = next((part for part in reversed(way) if part not in ("[]", "*")), "")
    yield ".".join(way), name, schema
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(key, ()):
            yield from walked(inner, way, seen)
    if "items" in schema:
        yield from walked(schema["items"], (*way, "[]"), seen)
    for member, inner in schema.get("properties", {}).items():
        yield from walked(inner, (*way, member), seen)
    for inner in schema.get("patternProperties", {}).values():
        yield from walked(inner, (*way, "*"), seen)
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from walked(inner, (*way, "*"), seen)


def sent() -> Iterator[tuple[str, Found]]:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            who = operation["operationId"]
            for parameter in operation.get("parameters", ()):
                for found in walked(parameter["schema"], (who, parameter["name"])):
                    yield who, found
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                if media == "application/octet-stream":  # bytes, and no fields
                    continue
                for found in walked(content["schema"], (who,)):
                    yield who, found


SENT = list(sent())


def test_every_text_has_a_maximum() -> None:
    """Of every operation: in its body, its path and its query; keys too."""
    texts = [(way, schema) for _, (way, _, schema) in SENT if schema.get("type") == "string"]
    assert len(texts) > 100
    assert not [way for way, schema in texts if not {"maxLength", "enum", "const"} & schema.keys()]
    assert all(schema.get("maxLength", 0) <= limits.LONGEST_TEXT for _, schema in texts)
    keyed = [(way, s) for _, (way, _, s) in SENT if s.get("additionalProperties") or "patternProperties" in s]
    assert keyed and not [way for way, schema in keyed if "maxLength" not in schema["propertyNames"]]


def test_what_a_tenant_sends_is_short_but_for_what_programs_are_given() -> None:
    """By name; and a list or an object has so many entries and no more."""
    found = [(way, name, schema) for who, (way, name, schema) in SENT if who not in TRUSTED]
    long = {name for way, name, schema in found if schema.get("maxLength", 0) > 16_384 and way != PASTED}
    short = {"address", "prefix", "before", "until", "expiresAt"}
    assert long - short == LONG, "an address, a prefix, a moment: read as such, and short"
    lists = [way for way, _, s in found if s.get("type") == "array" and "maxItems" not in s]
    objects = [
        way
        for way, _, s in found
        if (s.get("additionalProperties") or "patternProperties" in s)
        and "maxProperties" not in s
        and way not in CHANGES
    ]
    assert not lists and not objects


def test_no_field_takes_anything_at_all() -> None:
    """A field without a type is one that is refused, or one of the server's own, which nobody keeps."""
    kinds = {"type", "anyOf", "oneOf", "allOf", "enum", "const"}
    untyped = [(way, name, s) for _, (way, name, s) in SENT if not kinds & s.keys()]
    assert not [w for w, name, s in untyped if name not in DROPPED and not s.get("description", "").startswith("refus")]


def parsed(**changes: Any) -> dict[str, str]:
    """The problems of a workload with these members of its container."""
    container = {"image": "registry.example/web:1", **changes.pop("container", {})}
    body = {
        "name": "web",
        "spec": {"containers": {"web": container}},
        "targets": {
            "eu": {
                "spec": {
                    "deployments": {
                        "minReplicas": 1,
                        "selectors": [{"key": "cityCode", "operator": "in", "values": ["LHR"]}],
                    }
                }
            }
        },
        **changes,
    }
    try:
        parse(
            body,
            workload_id=WorkloadId("w"),
            stack_id=StackId("s"),
            stack_slug="default",
            cities=[CityCode("LHR")],
        )
    except Invalid as error:
        return {p.path: p.message for p in error.problems}
    return {}


def test_all_that_is_too_long_is_said_at_once() -> None:
    """Each by its path, with what it may have."""
    many = {f"k{n}": "v" for n in range(limits.MOST_ENTRIES + 1)}
    probe = {"httpGet": {"path": "/" * 4097, "port": 80, "httpHeaders": {"h": "v" * 4097, "n" * 256: "v"}}}
    found = parsed(
        name="n" * 256,
        slug="s" * 64,
        metadata={"labels": {"l": "v" * 256}, "annotations": many},
        container={
            "image": "i" * 513,
            "env": {"E" * 256: {"value": "v"}},
            "args": ["a"] * (limits.MOST_ENTRIES + 1),
            "readinessProbe": probe,
            "terminationMessagePath": "/" * 4097,
            "resources": {"requests": {"cpu": "1" * 33}},
        },
        runtime={},
    )
    found.pop("runtime", None)
    web = "spec.containers.web"
    assert found.keys() == {
        "name",
        "slug",
        "metadata.labels.l",
        "metadata.annotations",
        f"{web}.image",
        f"{web}.env.{'E' * 256}",
        f"{web}.args",
        f"{web}.readinessProbe.httpGet.path",
        f"{web}.readinessProbe.httpGet.httpHeaders.h",
        f"{web}.readinessProbe.httpGet.httpHeaders.{'n' * 256}",
        f"{web}.terminationMessagePath",
        f"{web}.resources.requests.cpu",
    }
    assert found[f"{web}.args"] == "must have at most 1000 entries"
    assert found["name"] == "must have at most 255 characters"
    assert all(len(message) < 300 for message in found.values()), "an answer repeats no more than a line of it"


def test_what_is_not_looked_at_is_not_kept() -> None:
    """A megabyte where the server's own version stands leaves nothing behind."""
    assert not parsed(id="x" * 1000, metadata={"version": "v" * 1000})
    document = parse(
        {
            "name": "web",
            "metadata": {"version": "v" * 1000},
            "spec": {"containers": {"web": {"image": "a/b:1"}}},
            "targets": {
                "eu": {
                    "spec": {
                        "deployments": {
                            "minReplicas": 1,
                            "selectors": [{"key": "cityCode", "operator": "in", "values": ["LHR"]}],
                        }
                    }
                }
            },
        },
        workload_id=WorkloadId("w"),
        stack_id=StackId("s"),
        stack_slug="default",
        cities=[CityCode("LHR")],
    ).document
    assert "version" not in document.get("metadata", {})


@pytest.mark.parametrize("digits", [21, 5000])
def test_a_number_as_text_has_an_end_too(digits: int) -> None:
    """In words, whatever Python thinks of so many digits."""
    with pytest.raises(ValidationError, match="must be a whole number"):
        TypeAdapter(WorkloadBody).validate_python(
            {
                "spec": {"containers": {"web": {"image": "a", "ports": {"p": {"port": "1" * digits}}}}},
                "targets": {},
            }
        )
