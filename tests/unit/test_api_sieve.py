"""A request is shown to the routers that have an operation with its path, and to no others."""

from starlette.routing import Match

from anypop.api.app import ROUTERS, _routes, operations_of
from anypop.api.sieve import Sieve

SIEVES = [one for one in _routes() if isinstance(one, Sieve)]


def _scope(method: str, path: str, kind: str = "http") -> dict[str, object]:
    return {"type": kind, "method": method, "path": path, "root_path": "", "headers": []}


def test_every_operation_is_found_behind_its_sieve() -> None:
    """With values in place of its parameters; and few other routers are looked at for it."""
    shown = []
    for router, sieve in zip(ROUTERS, SIEVES, strict=True):
        for route in operations_of(router):
            path = route.path.format(**dict.fromkeys(route.param_convertors, "a-b.c"))
            for method in route.methods or ():
                assert sieve.matches(_scope(method, path))[0] is Match.FULL, path
            shown.append(sum(one._fits(path) is not None for one in SIEVES))
    assert len(shown) > 150 and max(shown) <= 3


def test_another_method_is_left_to_the_router_and_another_path_to_nobody() -> None:
    """The first is 405, the second 404; a socket is no operation."""
    found = [sieve.matches(_scope("PUT", "/stack/v1/stacks"))[0] for sieve in SIEVES]
    assert found.count(Match.PARTIAL) == 1 and Match.FULL not in found
    for scope in (
        _scope("GET", "/stack/v1/stacks/"),
        _scope("GET", "/"),
        _scope("GET", "/stack/v1/stacks", "websocket"),
    ):
        assert {sieve.matches(dict(scope))[0] for sieve in SIEVES} == {Match.NONE}
