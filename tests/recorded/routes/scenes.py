"""Routes to be announced to a router, and what is best among them and why: the truth of the recorded texts.

Each scene is one prefix. It is made so that one step alone can decide: the best is better by it, and worse by what
comes after. What a maker does otherwise is said beside the scene, from its documentation, not from our own rules.
"""

from dataclasses import dataclass, field
from ipaddress import ip_network

from anypop.model.announce import Prefix

ROUTER_AS = 64500
# Who announces: number, AS. A greater number announces earlier; its address and its router id are greater too.
PEERS = {2: 64502, 3: 64503, 4: 64504, 5: 64505, 6: 64502, 7: ROUTER_AS, 8: ROUTER_AS}
OLDEST_WINS = ("frr", "gobgp", "junos", "ios", "ios-xr", "nx-os")  # among external routes, before router ids


@dataclass(frozen=True, kw_only=True)
class Announced:
    """One route as `peer` sends it. `path`: behind the peer's own AS, or the whole for an internal one."""

    peer: int
    path: tuple[int, ...]
    local_pref: int | None = None
    med: int | None = None
    origin: str = "IGP"
    originator: str = ""
    clusters: tuple[str, ...] = ()
    communities: tuple[tuple[int, int], ...] = ()
    large: tuple[tuple[int, int, int], ...] = ()
    extended: tuple[str, ...] = ()

    @property
    def internal(self) -> bool:
        return PEERS[self.peer] == ROUTER_AS

    @property
    def as_path(self) -> tuple[int, ...]:
        """As the router holds it."""
        return self.path if self.internal else (PEERS[self.peer], *self.path)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`best` and `reason`, and what another maker has in their place."""

    name: str
    routes: tuple[Announced, ...]
    best: int
    reason: str
    otherwise: dict[str, tuple[int, str]] = field(default_factory=dict)

    def truth(self, maker: str) -> tuple[int, str]:
        return self.otherwise.get(maker, (self.best, self.reason))


# both names with each kind of administrator
EXTENDED = (
    "rt:64502:4200000000",
    "rt:192.0.2.1:70",
    "rt:4200000001:70",
    "ro:64502:80",
    "ro:192.0.2.2:80",
    "ro:4200000002:80",
)
NAMELESS = ("generic:0x80aa0102:0x3040506",)  # FRR and OpenBGPD lose its value
LONG = (*range(64600, 64624), 4200000001)
_AGE = dict.fromkeys(OLDEST_WINS, (5, "oldest route"))

SCENES = (
    Scene(name="alone", routes=(Announced(peer=3, path=(64511, 64520), med=7),), best=3, reason="only route"),
    Scene(
        name="preference",
        routes=(
            Announced(peer=7, path=(64511, 64512, 64520), local_pref=200, med=9),
            Announced(peer=2, path=(64520,)),
            Announced(peer=8, path=(64520,), local_pref=90),
        ),
        best=7,
        reason="local preference",
    ),
    Scene(
        name="length",
        routes=(
            Announced(peer=5, path=(64520,), origin="INCOMPLETE", med=40),
            Announced(peer=4, path=(64511, 64520)),
            Announced(peer=2, path=(64520, 64520, 64520)),
        ),
        best=5,
        reason="AS path length",
    ),
    Scene(
        name="origin",
        routes=(
            Announced(peer=5, path=(64520,), med=4000000000),
            Announced(peer=2, path=(64520,), origin="INCOMPLETE"),
            Announced(peer=3, path=(64520,), origin="EGP"),
        ),
        best=5,
        reason="origin",
    ),
    Scene(
        name="med",
        routes=(
            Announced(peer=2, path=(64520,), med=50, extended=NAMELESS),
            Announced(peer=6, path=(64520,), med=10, communities=((64502, 123), (65535, 65281)), extended=EXTENDED),
        ),
        best=6,
        reason="MED",
    ),
    Scene(
        name="external",
        routes=(
            Announced(peer=5, path=(64520,), med=30),
            Announced(peer=7, path=(64511, 64520), local_pref=100),
        ),
        best=5,
        reason="eBGP over iBGP",
    ),
    Scene(
        name="equal",
        routes=(
            Announced(peer=5, path=(64520,), med=30, large=((64502, 1, 7), (64502, 2, 4200000000))),
            Announced(peer=2, path=(64520,), med=60),
        ),
        best=2,
        reason="router id",
        otherwise=_AGE,
    ),
    Scene(
        name="internal",
        routes=(
            Announced(peer=7, path=(64511, 64520), local_pref=100),
            Announced(peer=8, path=(64511, 64520), local_pref=100),
        ),
        best=7,
        reason="router id",
    ),
    Scene(
        name="reflected",
        routes=(
            Announced(peer=7, path=(64511, 64520), local_pref=100, originator="192.0.2.9", clusters=("192.0.2.71",)),
            Announced(peer=8, path=(64511, 64520), local_pref=100, originator="192.0.2.5", clusters=("192.0.2.81",)),
        ),
        best=8,
        reason="router id",
        otherwise={"gobgp": (7, "router id")},  # it compares the neighbour's own, never the originator's
    ),
    Scene(
        name="clusters",
        routes=(
            Announced(
                peer=7,
                path=(64511, 64520),
                local_pref=100,
                originator="192.0.2.9",
                clusters=("192.0.2.71", "192.0.2.72", "192.0.2.73"),
            ),
            Announced(peer=8, path=(64511, 64520), local_pref=100, originator="192.0.2.9", clusters=("192.0.2.81",)),
        ),
        best=8,
        reason="cluster list length",
        otherwise={"gobgp": (7, "router id")},
    ),
    Scene(
        name="wide",
        routes=(
            Announced(peer=7, path=(64511, 64512, 64520), local_pref=4294967295, med=4294967295),
            Announced(peer=8, path=(64520,), local_pref=4294967294),
            Announced(peer=4, path=(64520,), med=4294967295),
        ),
        best=7,
        reason="local preference",
    ),
    Scene(
        name="long",
        routes=(Announced(peer=3, path=(*LONG, 64520)), Announced(peer=2, path=(64511, *LONG, 64520), med=1)),
        best=3,
        reason="AS path length",
    ),
)


def prefix(scene: Scene, version: int) -> Prefix:
    number = SCENES.index(scene)
    return ip_network(f"198.18.{number}.0/24" if version == 4 else f"2001:db8:{number + 1:x}00::/40")


def address(peer: int, version: int) -> str:
    return f"10.99.0.{peer}" if version == 4 else f"2001:db8:99::{peer}"
