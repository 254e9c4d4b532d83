"""The scope of an announcement rule as a request has it: communities outright, or what the upstream shall do.

In: `{"mode", "prepend", "communities", "large_communities", "extended_communities"}` with intents beside them
(`{"keep_in": "NA"}`, `{"no_export_to": 1299}`, `{"lower_preference": "as-peer"}`), and the AS of the upstream. Out: a
`Scope` in which each intent is a community of that AS's dictionary, or problems with the path of each field. Decides
nothing: which community it is is the word of `routing.intents`, as on the command line.
"""

from anypop.model.announce import Mode, Scope
from anypop.model.errors import Problem
from anypop.model.scopes import read_scope, with_communities, without_communities
from anypop.routing.dictionary import for_asn
from anypop.routing.intents import INTENTS, NoCommunity, community_for, wanted


def scope_from(given: object, path: str, asn: int | None, problems: list[Problem]) -> Scope:
    """The scope of a rule. `asn`: of its upstream; None where the rule names none, so that no intent can be
    resolved.
    """
    scope = read_scope(given, path, problems, beside=INTENTS)
    asked = {name: given[name] for name in INTENTS if name in given} if isinstance(given, dict) else {}
    if asked and scope.mode is Mode.WITHHOLD:
        problems.append(
            Problem(
                path=f"{path}.{next(iter(asked))}", message="says how far it goes, and mode says that it does not go"
            )
        )
        return scope
    found = []
    for name, value in asked.items():
        try:
            action = wanted(name, value)
            if asn is not None:
                found.append(community_for(for_asn(asn), action).value)
        except ValueError as error:
            problems.append(Problem(path=f"{path}.{name}", message=str(error)))
        except NoCommunity as error:
            instead = f"withhold it there, prepend, or see /anypop/v1/communities/{asn} for what it understands"
            problems.append(Problem(path=f"{path}.{name}", message=f"{error}: {instead}"))
    return with_communities(without_communities(scope), sorted({*scope.every_community, *found})) if found else scope
