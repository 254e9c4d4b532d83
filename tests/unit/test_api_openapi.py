"""docs/openapi.json: it is what the code says, and it says everything about every operation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from anypop.api import openapi
from anypop.api.app import ROUTERS
from anypop.plan import schema

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT = openapi.description(ROUTERS)
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [(method, path, found) for path, methods in DOCUMENT["paths"].items() for method, found in methods.items()]
WITHOUT_BODY = {
    "rotate_credential",
    "pause_rollout",
    "resume_rollout",
    "abort_rollout",
    "evict_host",
    "readmit_host",
    "reset_host",
    "give_join_token",
    "revoke_host",
    "undrain",
    "restart_instance",
    "power_off",
    "power_on",
    "restart_workload",
    "sign_out",
    "make_sign_in_link",
    "reset_password",
    "approve_request",
    "suspend_account",
    "resume_account",
}
WITHOUT_TOKEN = {
    "issue_token", "sign_in", "accept_invitation", "request_account", "get_health",
    "begin_oidc_sign_in", "finish_oidc_sign_in", "collect_oidc_sign_in", "use_sign_in_link",
}  # fmt: skip
LEAD = {"begin_oidc_sign_in", "finish_oidc_sign_in"}  # a browser to another place
each = pytest.mark.parametrize(
    ("method", "path", "found"), OPERATIONS, ids=[found["operationId"] for *_, found in OPERATIONS]
)


def members(value: Any) -> Iterator[tuple[str, Any]]:
    """Every member of every object in it, however deep."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inner:
        yield str(key), member
        yield from members(member)


def test_the_file_is_what_the_code_says() -> None:
    """After a change: `python -m anypop.api.openapi > docs/openapi.json`."""
    same = FILE.read_text(encoding="utf-8") == openapi.text(DOCUMENT)
    command = ".venv/bin/python -m anypop.api.openapi > docs/openapi.json"
    assert same, f"the API has changed: run `{command}` and read the difference"


def test_it_is_openapi() -> None:
    """As the standard's own types have it."""
    OpenAPI(**DOCUMENT)


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    """Schemas, responses and headers. 501 is for methods that are none, so that no operation has it."""
    found = {member for key, member in members(DOCUMENT) if key == "$ref"}
    parts = {f"#/components/{kind}/{name}" for kind, named in DOCUMENT["components"].items() for name in named}
    unused = {part for part in parts if "/securitySchemes/" in part or part.endswith("/NotImplemented")}
    assert found | unused == parts


def test_names_of_operations_are_unique() -> None:
    """Clients are generated with them."""
    names = [found["operationId"] for *_, found in OPERATIONS]
    assert len(set(names)) == len(names) >= 36


@each
def test_an_operation_says_what_it_is(method: str, path: str, found: dict[str, Any]) -> None:
    """A tag that is explained, a summary of one line, and who may ask."""
    assert len(found["tags"]) == 1 and found["tags"][0] in openapi.TAGS
    assert re.fullmatch(r"[A-Z][^\n.]{5,120}", found["summary"]), found["summary"]
    scheme = "agent" if path.startswith("/anypop/v1/agents/") else "client"
    assert found.get("security") == (None if found["operationId"] in WITHOUT_TOKEN else [{scheme: []}])


@each
def test_an_operation_says_what_it_takes(method: str, path: str, found: dict[str, Any]) -> None:
    """A body where one is sent, with a schema that has members; every parameter of the path; each parameter in
    words.
    """
    has_body = method in ("post", "put", "patch") and found["operationId"] not in WITHOUT_BODY
    assert ("requestBody" in found) is has_body
    for kind, content in found.get("requestBody", {}).get("content", {}).items():
        if kind == "application/octet-stream":
            assert content["schema"] == {"type": "string", "format": "binary"}
            continue
        references = [content["schema"], *content["schema"].get("anyOf", ())]
        names = [schema["$ref"].rpartition("/")[2] for schema in references if "$ref" in schema]
        assert names and all(SCHEMAS[name]["properties"] for name in names)
    parameters = found.get("parameters", [])
    assert set(re.findall(r"\{(\w+)\}", path)) == {p["name"] for p in parameters if p["in"] == "path"}
    assert all(p["description"] and p["schema"] for p in parameters)


@each
def test_an_operation_says_what_it_answers(method: str, path: str, found: dict[str, Any]) -> None:
    """One answer that is right (an order may also be none), with its schema; errors by reference; never FastAPI's
    422.
    """
    answers = found["responses"]
    right = {status for status in answers if status[0] in "23"}
    assert right in ({"200"}, {"204"}) or found["operationId"] in ("get_order", *LEAD)
    assert ("302" in right) is (found["operationId"] in LEAD)
    for status in right - {"204", "302"}:
        ((kind, content),) = answers[status]["content"].items()
        if kind in ("text/plain", "application/openmetrics-text", "application/octet-stream"):
            assert content["schema"] == {"type": "string", "format": "binary"}
            continue
        assert "$ref" in content["schema"] or "$ref" in content["schema"]["contentSchema"]
    wrong = set(answers) - right
    assert wrong >= {"400", "500", "503"} and "422" not in wrong
    without = ("get_health", "request_account", "begin_oidc_sign_in")
    assert ("401" in wrong) is (found["operationId"] not in without)
    assert "404" in wrong or not re.search(r"stack_id|workload_id|user_id", path)
    assert all(answers[status].keys() == {"$ref"} for status in wrong)


def test_every_error_has_one_shape() -> None:
    """`Error`, in JSON, and every code of a status in words."""
    for name, response in DOCUMENT["components"]["responses"].items():
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}, name
        assert re.match(r"code \d+ \([A-Z_]+\): ", response["description"])


def test_answers_of_the_workload_api_have_no_null() -> None:
    """What is not there is left out."""
    own = {"Stack", "Workload", "Instance", "WorkloadMetadata", "InstanceMetadata", "Location", "Credential"}
    shown = {f"Shown{name}" for name in vars(schema)} & SCHEMAS.keys()
    assert len(shown) > 20
    for name in own | shown:
        assert "null" not in [member for _, member in members(SCHEMAS[name]) if isinstance(member, str)], name
