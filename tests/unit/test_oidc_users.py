"""Who a provider's identity is here: what rules say, how a new user is called; and the operator's file."""

from pathlib import Path
from typing import Any

import pytest

from anypop.control.oidc_identity import Identity
from anypop.control.oidc_settings import Rule, read, settings_from
from anypop.control.oidc_users import name_for, places
from anypop.control.oidc_waiting import Waiting
from anypop.control.once import MOST
from anypop.control.refusals import Unauthenticated
from anypop.control.roles import Role
from anypop.model.errors import Invalid, WorldError


def rule(claim: str, value: str, role: Role, account: str = "edge") -> Rule:
    return Rule(claim=claim, value=value, account=account, role=role)


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({}, {}),
        ({"groups": ["edge-users"]}, {"edge": Role.VIEWER}),
        ({"groups": "edge-users"}, {"edge": Role.VIEWER}),
        ({"groups": ["edge-admins", "edge-users"]}, {"edge": Role.OWNER}),
        ({"groups": ["other"], "email_verified": True}, {"own": Role.EDITOR}),
        ({"groups": ["edge-users-of-another-kind"], "email_verified": False}, {}),
        ({"groups": {"edge-users": 1}}, {}),
        ({"groups": None, "level": 7}, {"own": Role.VIEWER}),
    ],
    ids=str,
)
def test_rules_put_people_where_their_claims_say_and_nowhere_else(
    claims: dict[str, Any], found: dict[str, Role]
) -> None:
    """A claim may be a text, a list, a number, or true; of several roles the highest counts, in any order."""
    rules = [
        rule("groups", "edge-users", Role.VIEWER), rule("groups", "edge-admins", Role.OWNER),
        rule("email_verified", "true", Role.EDITOR, "own"), rule("level", "7", Role.VIEWER, "own"),
    ]  # fmt: skip
    assert places(rules, claims) == found and places(reversed(rules), claims) == found


def test_a_new_user_has_a_name_of_its_own() -> None:
    """By the first claim that is one; never that of somebody else; always the same for one identity."""

    def named(taken: tuple[str, ...] = (), subject: str = "1", **claims: Any) -> str:
        identity = Identity(issuer="https://id.example", subject=subject, claims=claims)
        return name_for(identity, ("preferred_username", "email"), lambda name: name in taken)

    assert named(preferred_username="Ada", email="ada@example.net") == "ada"
    assert named(preferred_username="", email="ada@example.net") == "ada@example.net"
    assert named(preferred_username="Ada O'Lace  ") == "ada-o-lace"
    taken = named(("ada",), preferred_username="ada")
    assert taken.startswith("ada-") and taken == named(("ada",), preferred_username="ada")
    assert taken != named(("ada",), subject="2", preferred_username="ada")
    assert named().startswith("user-") and named(preferred_username="\u0430\u0434\u0430").startswith("user-")
    assert len(named(preferred_username="a" * 500)) <= 255


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    secret = tmp_path / "secret"
    secret.write_text("hush-hush\n")
    secret.chmod(0o600)
    return {
        "issuer": "https://id.example/realm", "client_id": "anypop", "client_secret_file": str(secret),
        "url": "https://control.example/",
        "rules": [{"claim": "groups", "value": "noc", "account": "operator", "role": "viewer"}],
    }  # fmt: skip


def test_the_operators_file_is_read(given: dict[str, Any]) -> None:
    found = settings_from(given)
    assert found.callback == "https://control.example/anypop/v1/sign-in/oidc/callback"
    assert found.client_secret == "hush-hush" and "hush" not in repr(found)
    assert found.scopes == ("openid", "profile", "email") and found.rules[0].role is Role.VIEWER


def test_all_that_is_wrong_in_it_is_said_at_once_and_no_secret(given: dict[str, Any], tmp_path: Path) -> None:
    Path(given["client_secret_file"]).chmod(0o640)
    wrong = given | {
        "issuer": "http://id.example",
        "url": "https://control.example/x",
        "scopes": ["email"],
        "ca": "/no",
    }
    with pytest.raises(Invalid) as raised:
        settings_from(wrong)
    paths = [problem.path for problem in raised.value.problems]
    assert paths == ["oidc.issuer", "oidc.url", "oidc.scopes", "oidc.ca", "oidc.client_secret_file"]
    assert "hush" not in str(raised.value)
    for bad, path in (
        ({"issuers": "x"}, "oidc.issuers"), ({"client_id": ""}, "oidc.client_id"),
        ({"rules": [{"claim": "a", "value": "b", "account": "c", "role": "king"}]}, "oidc.rules[0].role"),
        ({"client_secret_file": "/no"}, "oidc.client_secret_file"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as raised:
            settings_from(given | bad)
        assert path in [problem.path for problem in raised.value.problems]
    for content in ("[", "", "7"):
        (tmp_path / "file").write_text(content)
        with pytest.raises((Invalid, WorldError)):
            read(tmp_path / "file")


def test_what_is_under_way_has_an_end() -> None:
    """Of too many the oldest go, and what is over goes by itself; the rest is not touched."""
    now = [0.0]
    waiting = Waiting(lambda: now[0])
    first, second = waiting.begin(), waiting.begin()
    for _ in range(MOST - 1):
        last = waiting.begin()
    with pytest.raises(Unauthenticated):
        waiting.back(first[0].state, first[1])
    assert waiting.back(second[0].state, second[1]).begun == second[0]
    now[0] = 599
    young = waiting.begin()
    now[0] = 600
    with pytest.raises(Unauthenticated):
        waiting.back(last[0].state, last[1])
    waiting.begin()
    assert len(waiting._started._kept) == 2
    assert waiting.back(young[0].state, young[1]).begun == young[0]
