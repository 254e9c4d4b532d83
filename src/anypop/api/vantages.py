"""What the API asks of places to test from, and of routers: two small interfaces.

`lab_vantages` implements both over the lab. A real deployment may put others behind them (measurement networks, route
collectors); without any, the endpoints say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from anypop.model.announce import Address
from anypop.model.names import CityCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """A place to test from. `asn`: its network."""

    name: str
    city: CityCode
    asn: int
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request: `body` is what came back (an instance answers with its name), or `error` says why nothing did.
    `asked` False: the vantage itself could not send it, so it says nothing about who is asked.
    """

    body: str = ""
    error: str = ""
    seconds: float = 0.0
    asked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Requests one after the other from one vantage; `seconds` for all of them."""

    answers: tuple[Answer, ...] = field(default_factory=tuple)
    seconds: float = 0.0


class Vantages(Protocol):
    """Places to test from. Blocking: call in a thread."""

    def all(self) -> list[Vantage]: ...

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        """Fetch `/` over HTTP so many times. Raises `WorldError` when the vantage itself fails."""
        ...


class LookingGlass(Protocol):
    """The routers' own view. Blocking: call in a thread."""

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        """Why `target` (a vantage or a router) lands where it lands, as `routing.why.Why` in plain data. `pops` serve
        the address.

        Raises `KeyError` for an unknown target and `WorldError` when the routers do not answer.
        """
        ...

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        """In which PoP each vantage's packets come in, wherever they are answered; None: nowhere. Raises `WorldError`
        when the routers do not answer.
        """
        ...
