"""What an endpoint answers, said where the endpoint stands; `openapi` makes the description of the API of it.

In: an endpoint, the model of its answer and the codes with which it refuses. Out: the endpoint itself, untouched:
nothing is checked here at run time. What its dependencies refuse (no token, no such stack, a body that is none) need
not be said again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anypop.api.errors import Code

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """`model` None: an answer without a body. `headers`: name and meaning. `empty`: when the answer is 204 in place of
    the model; `leads`: where a 302 leads, in place of it or beside it.
    """

    model: Any
    refusals: frozenset[Code]
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    empty: str = ""
    leads: str = ""


_ENDPOINTS: dict[Callable[..., Any], Documented] = {}


def answers(
    model: Any,
    *refusals: Code,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    empty: str = "",
    leads: str = "",
) -> Callable[[F], F]:
    """Says what the endpoint below answers."""

    def documented(endpoint: F) -> F:
        _ENDPOINTS[endpoint] = Documented(
            model=model,
            refusals=frozenset(refusals),
            media_type=media_type,
            headers=headers or {},
            empty=empty,
            leads=leads,
        )
        return endpoint

    return documented


def of(endpoint: Callable[..., Any]) -> Documented:
    """What was said of an endpoint. KeyError where nothing was: then it must not be served."""
    return _ENDPOINTS[endpoint]
