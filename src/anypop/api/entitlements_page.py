"""docs/entitlements.md: which role each operation of the API needs, as a table for people.

    python -m anypop.api.entitlements_page > docs/entitlements.md

In: the table of `entitlements`, and the operations that are served. Out: the page. A test holds the file to it.
"""

import sys

from fastapi.routing import APIRoute

from anypop.api import context, streams
from anypop.api.app import ROUTERS
from anypop.api.entitlements import OPERATIONS, Reach, Rule
from anypop.api.openapi import dependencies
from anypop.control.roles import Role

HEAD = """# Who may do what

Which role each operation of the API needs ([accounts.md](accounts.md)). A role holds those before it: viewer,
editor, owner. The operator's operations are for users and credentials of the operator's own account, with the role
that stands here. The last column is about credentials for one stack: what they have of an operation, if their role
(viewer, or editor) is enough.

This page is written by `python -m anypop.api.entitlements_page`.

| operation | request | role | a credential for one stack |
|---|---|---|---|
"""
_REACH = {
    Reach.STACK: "of its stack",
    Reach.NARROWED: "only what is of its stack",
    Reach.ALL: "yes",
    Reach.NONE: "no",
}


def page() -> str:
    """The page as text."""
    routes = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    rows = [
        _row(r.name, f"{min(r.methods or ())} {r.path}", OPERATIONS[r.name], operator=_of_operator(r))
        for r in routes
        if OPERATIONS[r.name].role is not None
    ]
    sockets = (("run_command", streams.COMMAND), ("forward_port", streams.PORT), ("open_console", streams.CONSOLE))
    rows += [_row(name, f"WebSocket {path}", OPERATIONS[name], operator=False) for name, path in sockets]
    return HEAD + "".join(rows)


def _row(name: str, request: str, rule: Rule, *, operator: bool) -> str:
    role = f"operator's {rule.role}" if operator else str(rule.role)
    return f"| {name} | `{request}` | {role} | {_reach(rule, operator=operator)} |\n"


def _reach(rule: Rule, *, operator: bool) -> str:
    return "no" if operator or rule.role is Role.OWNER else _REACH[rule.reach]


def _of_operator(route: APIRoute) -> bool:
    return bool({context.operator_of, context.any_stack_of} & set(dependencies(route.endpoint)))


if __name__ == "__main__":
    sys.stdout.write(page())
