"""People in a `World`: users with roles, with passwords that are hashed quickly; and a world of two accounts with
them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher

from anypop.control.passwords import Passwords
from anypop.control.roles import Role
from tests.control_world import World

PASSWORD = "correct horse battery"
OWN = {"ada": Role.OWNER, "vic": Role.VIEWER}
THEIRS = {"eve": Role.OWNER}


@contextmanager
def two_accounts(
    folder: Path, *, own: Mapping[str, Role] = OWN, theirs: Mapping[str, Role] = THEIRS
) -> Iterator[World]:
    """A world with an account beside the first, `theirs`, which has a stack of that name. Users of both sign in with
    `PASSWORD`.
    """
    with World(folder) as world:
        quick(world)
        accounts = world.platform.accounts
        other = accounts.create_account("theirs").id
        accounts.create_stack(other, "theirs", "theirs")
        for account, people in ((accounts.first_account().id, own), (other, theirs)):
            for name, role in people.items():
                a_user(world, account, name, role, PASSWORD)
        yield world


def user_id(world: World, name: str) -> str:
    found = world.platform.accounts.users.named(name)
    assert found is not None
    return found.id


def account_of(world: World, name: str) -> str:
    """The id of the one account that a user is in."""
    (place,) = world.platform.accounts.users.places(user_id(world, name))
    return place.account_id


def session_of(world: World, name: str) -> str:
    """The token of a user who has signed in."""
    tokens = world.platform.accounts.tokens
    return tokens.begin_session(user_id(world, name), account_of(world, name), via="test").text


def quick(world: World) -> None:
    """Hashes that cost nothing: what is tested is not how slow they are."""
    world.platform.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def a_user(world: World, account_id: str, name: str, role: Role, password: str | None = None) -> str:
    """A user in an account; its id. With a password it can sign in."""
    users = world.platform.accounts.users
    user = users.create(name, password_hash=world.platform.passwords.hash(password) if password else None)
    users.join(user.id, account_id, role)
    return user.id


def session(world: World, user_id: str, account_id: str) -> dict[str, str]:
    """The header of a user who has signed in."""
    token = world.platform.accounts.tokens.begin_session(user_id, account_id, via="test").text
    return {"authorization": f"Bearer {token}"}


def somebody(world: World, account_id: str, name: str, role: Role) -> dict[str, str]:
    """A new user of an account, signed in."""
    return session(world, a_user(world, account_id, name, role), account_id)
