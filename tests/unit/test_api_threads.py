"""A request stays in the thread of the event loop: where a step is being made beside it, each hop to another thread and
back waits for the interpreter's turn, which takes longer than the whole answer.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from anypop.api.app import ROUTERS

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def _asked(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """The endpoint, and all that it depends on."""
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _asked(inner)


def _runs_in_the_loop(asked: Callable[..., Any]) -> bool:
    return any(
        is_one(one)
        for one in (asked, getattr(asked, "__call__", None))  # noqa: B004 - of objects that are called
        for is_one in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    )


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_nothing_that_a_request_asks_for_goes_to_another_thread(route: APIRoute) -> None:
    """FastAPI gives each plain function to a pool of threads."""
    assert [asked for asked in _asked(route.dependant) if not _runs_in_the_loop(asked)] == []
