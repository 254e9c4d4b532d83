"""People in a `World`: users with roles, with passwords that are hashed quickly."""

from argon2 import PasswordHasher

from anypop.control.passwords import Passwords
from anypop.control.roles import Role
from tests.control_world import World

PASSWORD = "correct horse battery"


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
