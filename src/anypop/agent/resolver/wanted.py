"""What the resolver of a host is to know: who may ask, and what the instances of each domain are called. Plain text.

In: made by `decide.names`. Out: what `files` writes down and reads again. It imports nothing: the agent's decisions
know it, and so does a process that loads little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_SUFFIX = "nobody.invalid"
"""Of a domain whose names are not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """An instance of this host. `own`: the addresses from which it may send; `about`: what it is told of itself, each
    with its name.
    """

    domain: str
    name: str
    own: tuple[str, ...]
    private: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    about: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """`askers`: by the link of each. `upstreams`: whom to ask for all other names; None: as the host itself does."""

    askers: Mapping[str, Asker] = field(default_factory=dict)
    upstreams: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledInstance:
    """`away`: 0 on this host, then the further the larger. `serves`: as far as this host knows."""

    name: str
    addresses: tuple[str, ...]
    away: int = 0
    serves: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledWorkload:
    """`ports`: name, protocol in small letters, number."""

    slug: str
    ports: tuple[tuple[str, str, int], ...] = ()
    instances: tuple[CalledInstance, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """All names of a domain. `suffix`: behind which they stand, without a dot at its end."""

    domain: str
    suffix: str
    workloads: tuple[CalledWorkload, ...] = ()
