"""Which user a provider's identity is: the one that it was linked with, or a new one whom something lets in.

In: an `Identity`, the operator's rules, perhaps an invitation. Out: the user, in the accounts that these put it in, and
out of those where a rule had put it that does so no more. It is found by issuer and subject alone: a name or an e-mail
address makes nobody somebody who is here already, since at some providers anybody writes what they like there.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import insert

from anypop.control.accounts import Accounts
from anypop.control.audit import Noted
from anypop.control.oidc_identity import Identity
from anypop.control.oidc_settings import OidcSettings, Rule
from anypop.control.refusals import Exists, Forbidden, NotFound
from anypop.control.roles import Role
from anypop.control.schema_accounts import identities
from anypop.control.store import Store
from anypop.control.users import NO_RULE, User, Users
from anypop.model.errors import WorldError

log = logging.getLogger("anypop.control")
OPERATOR = "operator"  # in a rule: the operator's own account
NOBODY = "nobody here is this identity of the provider: ask for an invitation"


def places(rules: Iterable[Rule], claims: Mapping[str, Any]) -> dict[str, Role]:
    """Account (as the rules name it) and role for whoever has these claims; of several roles the highest."""
    found: dict[str, Role] = {}
    for rule in rules:
        if rule.value not in _texts(claims.get(rule.claim)):
            continue
        if rule.account not in found or not found[rule.account].holds(rule.role):
            found[rule.account] = rule.role
    return found


def _texts(claim: Any) -> list[str]:
    """A claim, or each of its list, as a rule writes it."""
    values = claim if isinstance(claim, list) else [claim]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values if isinstance(one, str | int)]


def name_for(identity: Identity, names: Iterable[str], taken: Callable[[str], bool]) -> str:
    """What a new user is called: by the first claim that is one; with some digits behind it where that is taken."""
    digits = sha256(f"{identity.issuer}\n{identity.subject}".encode()).hexdigest()[:8]
    for claim in names:
        text = str(identity.claims.get(claim) or "").strip().lower()
        wanted = re.sub(r"[^a-z0-9._+@-]+", "-", text).strip("-._+@")[:200]
        if len(wanted) >= 2:
            return f"{wanted}-{digits}" if taken(wanted) else wanted
    return f"user-{digits}"


def user_of(
    accounts: Accounts,
    store: Store,
    settings: OidcSettings,
    identity: Identity,
    invited: Callable[[User], str] | None = None,
) -> tuple[User, str]:
    """Whoever it is, in all accounts where a rule puts it, and no more where one did; and in that of the invitation,
    whose id comes with it (empty without one). `invited`: uses up an invitation that is good. Raises `Forbidden` for
    somebody whom neither a link, a rule nor an invitation lets in.
    """
    own = accounts.first_account().id
    meant = {
        own if named == OPERATOR else named: role for named, role in places(settings.rules, identity.claims).items()
    }
    wanted = {account: role for account, role in meant.items() if accounts.has_account(account)}
    known = accounts.users.of_identity(identity.issuer, identity.subject)
    if known is None:
        if not wanted and invited is None:
            raise Forbidden(NOBODY)
        known = _made(accounts.users, store, settings, identity)
    _hold_to_rules(accounts.users, known, wanted)
    return known, invited(known) if invited is not None else ""


def _hold_to_rules(users: Users, user: User, wanted: Mapping[str, Role]) -> None:
    """What rules gave before they give no more, or as another role; a role that was given by hand stays. Also the last
    owner of an account goes so: the provider says that somebody has left, and the operator can invite another.
    """
    for place in users.places(user.id):
        role = wanted.get(place.account_id)
        if not place.by_rule or role is place.role:
            continue
        with contextlib.suppress(NotFound):  # another sign-in at the same moment did it
            if role is None:
                users.leave(user.id, place.account_id, by_rule=True)
                log.info("%s is in account %s no more: %s", user.name, place.account_id, NO_RULE)
            else:
                users.set_role(user.id, place.account_id, role, by_rule=True)
    for account, role in wanted.items():
        if users.role(user.id, account) is None:
            with contextlib.suppress(Exists):  # likewise
                users.join(user.id, account, role, by_rule=True)


def _made(users: Users, store: Store, settings: OidcSettings, identity: Identity) -> User:
    """A new user, linked with its identity: both or neither."""
    made = users.new(name_for(identity, settings.names, lambda name: users.named(name) is not None))
    noted = Noted(subject=made.name, became={"id": made.id, "issuer": identity.issuer, "subject": identity.subject})
    row = {
        "issuer": identity.issuer, "subject": identity.subject, "user_id": made.id, "created_at": made.created_at,
    }  # fmt: skip
    try:
        with store.writing(noted=noted) as link:
            users.insert(link, made, None)
            link.execute(insert(identities), row)
    except (Exists, WorldError) as error:
        users.read()
        known = users.of_identity(identity.issuer, identity.subject)
        if known is None:
            raise error
        return known  # another sign-in at the same moment made it
    users.read()
    return made
