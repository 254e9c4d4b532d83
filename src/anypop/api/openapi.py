"""The description of the API in OpenAPI 3.1: what `GET /anypop/v1/openapi.json` answers and `docs/openapi.json` holds.

    python -m anypop.api.openapi > docs/openapi.json

In: the routers. Out: one document. Paths, parameters and security come from FastAPI, answers from `documentation`,
bodies from the dependencies that read them, refusals from both. Nothing here knows a single endpoint.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc, isfunction
from typing import Any, get_type_hints

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import core_schema

from anypop.api import context, documentation
from anypop.api.bodies import BYTES, JSON, RequestBody
from anypop.api.errors import GATEWAY, SAYS, STATUS, Code
from anypop.api.models.errors import Error
from anypop.model import limits

TITLE = "Anypop"
VERSION = "1"
ABOUT = """
Two parts share one address, one account and one shape of errors: the Workload API (`/identity/v1`, `/stack/v1`,
`/workload/v1`), which clients of StackPath Edge Compute speak, and `/anypop/v1`, which is Anypop's own.

Every error is an `Error`. Its `code` is one of google.rpc, from which the HTTP status follows; a path that does not
exist answers 404, a method that a path does not have 501. What is null or empty is left out of the answers of the
Workload API; in requests null counts as absent.
"""
TAGS = {
    "identity": "Tokens and credentials.",
    "accounts": "Accounts, their users, and invitations into them.",
    "stacks": "The projects of an account.",
    "workloads": "Workloads, their instances, and where they can be.",
    "addresses": "Addresses that last: allocations, and the claims by which workloads hold them.",
    "networks": "Which instances of a stack are among themselves.",
    "network policies": "Who may send what to instances, and what they may send.",
    "rollouts": "How changes are brought to instances and announcements.",
    "dials": "How much of its new connections a PoP keeps, of one workload or of all.",
    "drains": "Taking the traffic from a PoP, a host, an upstream or an instance, and bringing it back.",
    "volumes": "What instances keep, and copies of it.",
    "prices": "What a workload would cost.",
    "quotas": "What may be declared.",
    "audit": "Who did what.",
    "platform": "PoPs, hosts, events and the operator's network.",
    "communities": "What other networks do on which community.",
    "announcements": "How far each announcement goes.",
    "probes": "What places to test from see, and why.",
    "predictions": "Where networks would land, and what mends it where they land too far away.",
    "agents": "Orders and reports, for the agents of the PoPs.",
}

# What a dependency refuses, whatever its endpoint does.
_REFUSALS: Mapping[object, Collection[Code]] = {
    context.caller_of: [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED],
    context.operator_of: [Code.PERMISSION_DENIED],
    context.named_account_of: [Code.NOT_FOUND],
    context.stack_of: [Code.NOT_FOUND],
    context.any_stack_of: [Code.NOT_FOUND, Code.PERMISSION_DENIED],
    context.announced_stack_of: [Code.NOT_FOUND],
    context.host_of: [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED],
    context.joining_host_of: [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED],
}
# Any request may hold text that breaks the limits, be one too many, meet an error of our own, or a store that fails.
_ALWAYS = frozenset([Code.INVALID_ARGUMENT, Code.INTERNAL, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])


def description(routers: Sequence[APIRouter]) -> dict[str, Any]:
    """The OpenAPI document of these routers."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    base = get_openapi(title=TITLE, version=VERSION, routes=routes)
    schemas = Schemas.of(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in sorted(route.methods or ()):
            known = base["paths"][route.path_format][method.lower()]
            paths.setdefault(route.path_format, {})[method.lower()] = _operation(route, known, schemas)
    return {
        "openapi": base["openapi"],
        "info": {"title": TITLE, "version": VERSION, "description": cleandoc(ABOUT)},
        "tags": [{"name": name, "description": says} for name, says in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": base["components"]["securitySchemes"],
            "headers": {
                "gateway": {"description": "on every answer", "schema": {"type": "string", "const": GATEWAY[1]}},
                "requestId": {
                    "description": "on every answer; the audit log and details of errors have the same",
                    "schema": {"type": "string"},
                },
                "retryAfter": {
                    "description": "seconds, where it helps to come again",
                    "schema": {"type": "integer", "minimum": 1},
                },
            },
            "responses": {_name(status): _error(status, schemas) for status in sorted(set(STATUS.values()))},
            "schemas": schemas.definitions,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """The JSON schemas of all bodies and answers, made together, so that each name means one thing."""

    requests: Mapping[Any, Mapping[str, Any]]
    answers: Mapping[Any, Mapping[str, Any]]
    definitions: Mapping[str, Any]

    @classmethod
    def of(cls, routes: Sequence[APIRoute]) -> "Schemas":
        answers = dict.fromkeys([Error, *(documentation.of(route.endpoint).model for route in routes)])
        answers.pop(None, None)
        requests = dict.fromkeys(model for route in routes for model in content_of(route).values())
        inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
            *((model, "serialization", TypeAdapter(model)) for model in answers),
            *((model, "validation", TypeAdapter(model)) for model in requests),
        ]
        made, definitions = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Generator
        )
        names = _names(definitions["$defs"])
        seen: set[str] = set()
        for model in requests:
            _limit(made[model, "validation"], definitions["$defs"], seen)
        return cls(
            requests={model: _renamed(made[model, "validation"], names) for model in requests},
            answers={model: _renamed(made[model, "serialization"], names) for model in answers},
            definitions={
                names[old]: _renamed(definitions["$defs"][old], names) for old in sorted(names, key=names.__getitem__)
            },
        )


# A schema with one of these says itself how long its text may be.
_BOUNDED = frozenset({"maxLength", "enum", "const"})


def _limit(schema: Any, definitions: Mapping[str, Any], seen: set[str]) -> None:
    """Every text and every key that is sent has a limit: where its type has none of its own, that of `limits`, which is
    asked of every body.
    """
    for member in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _limit(member, definitions, seen)
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        _limit(definitions[reference.rpartition("/")[2]], definitions, seen)
    if schema.get("type") == "string" and not _BOUNDED & schema.keys():
        schema["maxLength"] = limits.LONGEST_TEXT
    if schema.get("type") == "object" and schema.get("additionalProperties"):
        schema.setdefault("propertyNames", {}).setdefault("maxLength", limits.LONGEST_KEY)


def _names(given: Collection[str]) -> dict[str, str]:
    """Pydantic's names of schemas as people would write them.

    What is sent has the plain name, what is answered of the same class begins with Shown, and of two classes of one
    name the one that stands further from the API has its module before it.
    """
    names: dict[str, str] = {}
    for name in sorted(given, key=lambda name: ("__model__" in name, name)):
        *module, last = name.split("__")
        short = f"Shown{last.removesuffix('-Output')}" if last.endswith("-Output") else last.removesuffix("-Input")
        names[name] = short if short not in names.values() else f"{module[-1]}.{short}"
    return names


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    prefix = "#/components/schemas/"
    if isinstance(schema, dict):
        return {key: _renamed(member, names) for key, member in schema.items()}
    if isinstance(schema, list):
        return [_renamed(member, names) for member in schema]
    if isinstance(schema, str) and schema.startswith(prefix):
        return prefix + names[schema.removeprefix(prefix)]
    return schema


class _Generator(GenerateJsonSchema):
    """Pydantic's own, without a title for each field that repeats its name, and without null where none is answered."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_field_schema(self, schema: core_schema.ModelField) -> dict[str, Any]:
        """A member that a model may lack is left out of answers; only dataclasses, by `codec`, say null."""
        inner = schema["schema"]
        if self.mode == "serialization" and inner["type"] == "default" and inner.get("default", ...) is None:
            kind = inner["schema"]
            return self.generate_inner(kind["schema"] if kind["type"] == "nullable" else kind)
        return super().model_field_schema(schema)


def content_of(route: APIRoute) -> Mapping[str, Any]:
    """What the body of a request may be, as a type for each media type; empty where there is none."""
    return next((found.content for found in dependencies(route.endpoint) if isinstance(found, RequestBody)), {})


def dependencies(endpoint: Callable[..., Any]) -> Iterator[object]:
    """All that FastAPI calls before an endpoint, as its annotations say."""
    function = endpoint if isfunction(endpoint) else type(endpoint).__call__
    for hint in get_type_hints(function, include_extras=True).values():
        for marker in getattr(hint, "__metadata__", ()):
            if isinstance(marker, Depends) and marker.dependency is not None:
                yield marker.dependency
                yield from dependencies(marker.dependency)


def refusals(route: APIRoute) -> frozenset[Code]:
    """The codes of all errors that an operation can answer."""
    needed = (code for found in dependencies(route.endpoint) for code in _REFUSALS.get(found, ()))
    return frozenset([*_ALWAYS, *documentation.of(route.endpoint).refusals, *needed])


def _operation(route: APIRoute, known: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    summary, _, more = cleandoc(route.endpoint.__doc__ or "").partition("\n\n")
    content = content_of(route)
    found = {
        "tags": route.tags,
        "summary": " ".join(summary.split()).rstrip("."),
        "description": more,
        "operationId": route.name,
        "security": known.get("security"),
        "parameters": [_parameter(parameter) for parameter in known.get("parameters", ())],
        "requestBody": {
            "required": True,
            "content": {media: {"schema": _sent(media, model, schemas)} for media, model in content.items()},
        }
        if content
        else None,
        "responses": _responses(route, schemas),
    }
    return {key: value for key, value in found.items() if value}


def _sent(media: str, model: Any, schemas: Schemas) -> Any:
    return {"type": "string", "format": "binary"} if media == BYTES else schemas.requests[model]


def _parameter(known: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is said twice, and without the empty text that stands for absent."""
    schema = {
        key: value for key, value in known["schema"].items() if key not in ("title", "description") and value != ""
    }
    for kind in (schema, *schema.get("anyOf", ())):
        if kind.get("type") == "string" and not _BOUNDED & kind.keys():
            kind["maxLength"] = limits.LONGEST_PARAMETER
    return {**known, "schema": schema}


_EVERYWHERE = {
    "Grpc-Metadata-Content-Type": {"$ref": "#/components/headers/gateway"},
    "X-Request-Id": {"$ref": "#/components/headers/requestId"},
}
_AGAIN = {"Retry-After": {"$ref": "#/components/headers/retryAfter"}}


def _responses(route: APIRoute, schemas: Schemas) -> dict[str, Any]:
    documented = documentation.of(route.endpoint)
    gateway = _EVERYWHERE
    responses: dict[str, Any] = {}
    if documented.model is not None:
        schema = schemas.answers[documented.model]
        if documented.media_type.startswith(("text/plain", "application/openmetrics-text", BYTES)):
            schema = {"type": "string", "format": "binary"}
        elif documented.media_type != JSON:
            schema = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
        own = {name: {"description": says, "schema": {"type": "string"}} for name, says in documented.headers.items()}
        responses["200"] = {
            "description": "OK",
            "headers": gateway | own,
            "content": {documented.media_type: {"schema": schema}},
        }
    if documented.leads:
        where = {"Location": {"description": documented.leads, "schema": {"type": "string", "format": "uri"}}}
        responses["302"] = {"description": documented.leads, "headers": gateway | where}
    if (documented.model is None and not documented.leads) or documented.empty:
        responses["204"] = {"description": documented.empty or "done", "headers": gateway}
    for status in sorted({STATUS[code] for code in refusals(route)}):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return responses


def _error(status: int, schemas: Schemas) -> dict[str, Any]:
    codes = [code for code in Code if STATUS[code] == status]
    return {
        "description": "; ".join(f"code {code} ({code.name}): {SAYS[code]}" for code in codes),
        "headers": _EVERYWHERE | (_AGAIN if Code.RESOURCE_EXHAUSTED in codes else {}),
        "content": {JSON: {"schema": schemas.answers[Error]}},
    }


def _name(status: int) -> str:
    """`404` as `NotFound`."""
    return HTTPStatus(status).phrase.replace(" ", "")


def text(document: Mapping[str, Any]) -> str:
    """The document as it is written to a file: stable, and with lines that a person can compare."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from anypop.api.app import ROUTERS

    sys.stdout.write(text(description(ROUTERS)))
