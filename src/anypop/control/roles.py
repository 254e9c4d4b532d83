"""Roles and scopes: how much whoever asks may do in an account.

In: the role of a user, the scope of a credential. Out: the role that counts. A role holds all of those below it. Which
operation needs which role is said by the faces, once for each. No I/O.
"""

from enum import StrEnum


class Role(StrEnum):
    """What a user may do in one account; in another one it may be something else."""

    VIEWER = "viewer"
    """reads, and changes nothing"""
    EDITOR = "editor"
    """also changes workloads and all that belongs to them, and its own credentials"""
    OWNER = "owner"
    """everything of the account: users, invitations, all credentials, its name"""

    def holds(self, needed: "Role") -> bool:
        """Whether it is enough where `needed` is asked for."""
        return _RANK[self] >= _RANK[needed]


_RANK = {role: rank for rank, role in enumerate(Role)}


class Scope(StrEnum):
    """How much of its owner's role a credential carries."""

    READ = "read"
    WRITE = "write"
    METRICS = "metrics"
    """scrapes, and does nothing else: what a store of metrics signs in with"""


def effective(role: Role, scope: Scope, *, one_stack: bool) -> Role:
    """The role of a credential, whose owner has `role`: never more than that. One that is for a single stack changes
    what is in it, and nothing of the account.
    """
    most = Role.VIEWER if scope is not Scope.WRITE else Role.EDITOR if one_stack else Role.OWNER
    return role if most.holds(role) else most
