"""Makes a process that only simulates quicker; it changes no result.

Networks and addresses are asked for their hash and their text hundreds of thousands of times in a life, and each time
the standard library works it out anew; here it is kept, or worked out in one step. What is worked
out once for an object takes no lock, `replace` knows the fields of a class instead of looking for them each time, and
the garbage of a life is collected when the life is over. For worker processes of the simulator alone.
"""

import dataclasses
import gc
import sys
from collections.abc import Callable
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any


def be_quick() -> None:
    """From now on, for as long as this process lives."""
    for network in (IPv4Network, IPv6Network):
        _keep_of_network(network)
    for address in (IPv4Address, IPv6Address):
        _keep_of_address(address)
    if sys.version_info < (3, 12):
        cached_property.__get__ = _kept_without_lock  # type: ignore[method-assign]
    _replace_with(_replace)
    gc.disable()


_plain_replace = dataclasses.replace
_makers: dict[type, Callable[[Any, dict[str, Any]], Any]] = {}


def _replace_with(quick: Callable[..., Any]) -> None:
    """In place of the standard library's, under every name by which a module has it."""
    for module in [m for m in sys.modules.values() if getattr(m, "replace", None) is _plain_replace]:
        vars(module)["replace"] = quick


def _replace(one: Any, /, **changes: Any) -> Any:
    maker = _makers.get(one.__class__)
    if maker is None:
        maker = _makers[one.__class__] = _maker(one.__class__)
    return maker(one, changes)


def _maker(kind: type) -> Callable[[Any, dict[str, Any]], Any]:
    """A new object of this class with some fields otherwise: as `replace` makes it, by its own `__init__`."""
    if not all(f.init for f in dataclasses.fields(kind)):
        return lambda one, changes: _plain_replace(one, **changes)
    names = [f.name for f in dataclasses.fields(kind)]
    told = ", ".join(f"{name!r}: one.{name}" for name in names)
    there: dict[str, Any] = {"kind": kind}
    exec(f"def make(one, changes):\n    return kind(**{{{told}, **changes}})", there)
    made: Callable[[Any, dict[str, Any]], Any] = there["make"]
    return made


def _kept_without_lock(self: Any, instance: Any, owner: Any = None) -> Any:
    """As from Python 3.12 on: nobody else works out the same property meanwhile."""
    if instance is None:
        return self
    found = instance.__dict__[self.attrname] = self.func(instance)
    return found


def _keep_of_network(kind: Any) -> None:
    plain_text = kind.__str__

    def hashed(self: Any) -> int:
        try:
            return self._hash  # type: ignore[no-any-return]
        except AttributeError:
            self._hash = hash((self.network_address._ip, self._prefixlen))
            return self._hash  # type: ignore[no-any-return]

    def text(self: Any) -> str:
        kept = self.__dict__.get("_text")
        if kept is None:
            kept = self.__dict__["_text"] = plain_text(self)
        return kept  # type: ignore[no-any-return]

    kind.__hash__, kind.__str__ = hashed, text


def _keep_of_address(kind: Any) -> None:
    plain_text = lru_cache(maxsize=1 << 14)(kind._string_from_ip_int)
    kind.__hash__ = lambda self: hash(self._ip)
    kind._string_from_ip_int = staticmethod(plain_text)
