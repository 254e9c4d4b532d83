"""Rules of a provider of sign-ins: what they gave goes with the claim, what people gave stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.control import acts, oidc_users
from anypop.control.acts import Act
from anypop.control.oidc_identity import Identity
from anypop.control.oidc_settings import OidcSettings, Rule
from anypop.control.refusals import Unauthenticated
from anypop.control.roles import Role
from anypop.control.users import NO_RULE, User
from tests.control_world import World
from tests.people import session


class Place:
    """Two accounts, and rules that put people into them."""

    def __init__(self, world: World) -> None:
        self.world, self.accounts = world, world.platform.accounts
        self.edge, self.press = (self.accounts.create_account(name).id for name in ("edge", "press"))
        self.rules: tuple[Rule, ...] = (
            Rule(claim="groups", value="edge", account=self.edge, role=Role.EDITOR),
            Rule(claim="groups", value="edge-admins", account=self.edge, role=Role.OWNER),
            Rule(claim="groups", value="press", account=self.press, role=Role.VIEWER),
        )

    def sign_in(self, *groups: str) -> User:
        """By the provider, which says that ada is in these groups."""
        identity = Identity(issuer="https://id.example", subject="1", claims={"name": "ada", "groups": list(groups)})
        settings = OidcSettings(
            issuer="https://id.example", client_id="anypop", client_secret="", url="https://control",
            scopes=("openid",), names=("name",), rules=self.rules,
        )  # fmt: skip
        with acts.acting(Act(operation="finish_oidc_sign_in", at=self.world.clock.now)):
            return oidc_users.user_of(self.accounts, self.world.platform.core.store, settings, identity)[0]

    def roles(self, user: User) -> dict[str, Role]:
        return {p.account_id: p.role for p in self.accounts.users.places(user.id)}

    def told(self) -> list[tuple[object, object]]:
        rows = self.world.platform.core.store.audit_log(limit=100, filters={"operation": "finish_oidc_sign_in"})
        return [(row["before"], row["after"]) for row in rows]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with World(tmp_path) as world:
        yield Place(world)


def test_a_role_goes_with_the_claim_that_gave_it_and_all_that_hangs_on_it(place: Place) -> None:
    """The session and the credential there; those of another account stay. The audit log says why."""
    ada = place.sign_in("edge", "press")
    assert place.roles(ada) == {place.edge: Role.EDITOR, place.press: Role.VIEWER}
    there, stays = session(place.world, ada.id, place.edge), session(place.world, ada.id, place.press)
    made = place.accounts.create_credential(place.edge, "ci", user_id=ada.id)
    token = place.world.login(made.client_id, made.secret)
    assert place.sign_in("press").id == ada.id
    assert place.roles(ada) == {place.press: Role.VIEWER}
    for headers, status in ((there, 401), (token, 401), (stays, 200)):
        assert place.world.call("GET", "/anypop/v1/who-am-i", headers=headers).status_code == status
    assert place.accounts.credentials(place.edge) == []
    assert place.told()[-1] == ({"role": "editor", "by_rule": True}, {"why": NO_RULE})
    with pytest.raises(Unauthenticated):
        place.accounts.caller(there["authorization"].removeprefix("Bearer "))


def test_a_role_becomes_what_the_rules_give_now(place: Place) -> None:
    """More, and less; nothing is written where nothing changes. A rule that is gone is as good as a claim."""
    ada = place.sign_in("edge")
    for groups, role in ((("edge", "edge-admins"), Role.OWNER), (("edge",), Role.EDITOR)):
        place.sign_in(*groups)
        assert place.roles(ada) == {place.edge: role}
    known = len(place.told())
    place.sign_in("edge")
    assert len(place.told()) == known
    place.rules = place.rules[1:]
    place.sign_in("edge")
    assert place.roles(ada) == {}


def test_what_was_given_by_hand_is_no_rules_to_take(place: Place) -> None:
    """An invitation, and a role that somebody set where a rule had given one."""
    users = place.accounts.users
    ada = place.sign_in("edge")
    users.join(ada.id, place.press, Role.EDITOR)
    place.sign_in("edge", "press")
    assert place.roles(ada)[place.press] is Role.EDITOR, "not the viewer of the rule"
    users.set_role(ada.id, place.edge, Role.VIEWER)
    place.sign_in("edge", "edge-admins")
    assert place.roles(ada) == {place.edge: Role.VIEWER, place.press: Role.EDITOR}
    place.sign_in()
    assert place.roles(ada) == {place.edge: Role.VIEWER, place.press: Role.EDITOR}
    shown = place.world.get(f"/anypop/v1/accounts/{place.edge}/users")["results"]
    assert ["by_rule" in one for one in shown] == [False]


def test_the_last_owner_goes_with_the_claim_too(place: Place) -> None:
    """The provider says that somebody has left; by hand the last owner cannot go."""
    ada = place.sign_in("edge-admins")
    shown = place.world.get(f"/anypop/v1/accounts/{place.edge}/users")["results"]
    assert [(one["role"], one["by_rule"]) for one in shown] == [("owner", True)]
    place.sign_in()
    assert place.roles(ada) == {}
