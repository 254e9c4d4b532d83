"""Our speaker beside other people's: a PoP's BIRD as an agent runs it, and FRR, GoBGP and OpenBGPD as its upstreams.

Each stands in a namespace of its own, one link away. The sessions have the parameters that the speaker can have, as far
as that daemon has them; a helper for each daemon says what it has learnt. `close` removes everything.
"""

import json
import pwd
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

from bench.agreement import gobgp
from bench.agreement.classes import extended

from anypop.agent.act.bgp.bird import Bird, SpeakerSeen
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.host import ip, netns, process
from anypop.lab.until import until
from anypop.model import extended_communities
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.network import Upstream
from anypop.model.peering import Imports, Role

OWN = 33438
ANYCAST4, ANYCAST6 = ip_network("185.2.0.0/24"), ip_network("2a0e:b100::/48")
PASSWORD = "a-shared-s3cret"
FRR, GOBGP, OPENBGPD = "frr", "gobgp", "openbgpd"
_FRR_LIB = Path("/usr/lib/frr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One route as a neighbour's daemon has it."""

    path: tuple[int, ...]
    communities: tuple[str, ...]


class InteropLab:
    """`prefix`: unique on the machine, at most six characters."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        folder = self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir="/tmp"))
        folder.chmod(0o711)  # FRR's daemons have a user of their own
        self.pop = f"{prefix}-pop"
        self.bird = Bird(folder / "bird")
        self.config = SpeakerConfig(asn=OWN, router_id=IPv4Address("10.64.255.1"), upstreams=_upstreams(folder))

    def open(self) -> None:
        for secret in ("password", "frr.password"):
            (self.folder / secret).write_text(PASSWORD + "\n")
            (self.folder / secret).chmod(0o600)
        ip.batch([f"netns add {self.pop}"])
        ip.batch(["link set lo up", "addr add 192.88.100.1/32 dev lo"], netns=self.pop)
        for number, upstream in enumerate(self.config.upstreams, 1):
            if upstream.name in (FRR, GOBGP, OPENBGPD):
                self._link(number, upstream)
        self._frr()
        self._gobgp()
        self._openbgpd()
        self.say()

    def say(self, *exports: Export, **changes: Any) -> None:
        """Have the speaker announce exactly this; `changes` of its configuration stay."""
        self.config = replace(self.config, exports=exports, **changes)
        with netns.inside(self.pop):
            self.bird.set(self.config)

    def look(self) -> SpeakerSeen:
        with netns.inside(self.pop):
            return self.bird.look()

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def heard(self, name: str, prefix: Prefix) -> Heard | None:
        """What a neighbour has learnt of a prefix from us; None: nothing."""
        ask = {FRR: self._frr_heard, GOBGP: self._gobgp_heard, OPENBGPD: self._openbgpd_heard}[name]
        with suppress(WorldError, json.JSONDecodeError):
            return ask(prefix)
        return None

    def frr_says(self, command: str) -> Any:
        return json.loads(self.run(FRR, "vtysh", "--vty_socket", str(self.folder / "frr"), "-c", command))

    def openbgpd_says(self, *words: str) -> Any:
        return json.loads(self.run(OPENBGPD, "bgpctl", "-s", f"{self.folder}/openbgpd.sock", "-j", *words))

    def limit(self, name: str, *, most: int, pause_s: float) -> None:
        """Let a neighbour tell at most so many IPv4 routes."""
        own = Imports(max_prefixes4=most, restart_after_s=pause_s)
        upstreams = tuple(replace(u, imports=own) if u.name == name else u for u in self.config.upstreams)
        self.say(*self.config.exports, upstreams=upstreams)

    def start_cache(self, roas: Path) -> None:
        """An RPKI cache on the speaker's own host, with these statements."""
        argv = [
            "stayrtr", "-cache", str(roas), "-bind", "127.0.0.1:3323", "-checktime=false", "-refresh", "1",
            "-metrics.addr", "",
        ]  # fmt: skip
        log = self.folder / "stayrtr.out"
        log.unlink(missing_ok=True)
        process.spawn(netns.command(self.pop, *argv), pid_file=self.folder / "stayrtr.pid", log=log)
        until(lambda: "Server started" in log.read_text(), timeout_s=10, what="start StayRTR")

    def close(self) -> None:
        for pid_file in self.folder.glob("**/*.pid"):
            process.end(pid_file, grace_s=0, group=True)
        for name in (self.pop, *(self.space(n) for n in (FRR, GOBGP, OPENBGPD))):
            if netns.exists(name):
                ip.batch([f"netns del {name}"])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _link(self, number: int, upstream: Upstream) -> None:
        there = self.space(upstream.name)
        ip.batch([f"netns add {there}"])
        ip.batch([f"link add {upstream.interface} netns {self.pop} type veth peer name wan netns {there}"])
        for space, interface, end in ((self.pop, upstream.interface, 2), (there, "wan", 1)):
            ip.batch(
                [
                    "link set lo up", f"link set {interface} addrgenmode none", f"link set {interface} up",
                    f"addr add 89.0.{number}.{end}/29 dev {interface}",
                    f"addr add 2a0e:d000:{number}::{end}/64 dev {interface} nodad",
                    f"addr add fe80::{end}/64 dev {interface} nodad",
                ],
                netns=space,
            )  # fmt: skip
        if upstream.multihop is not None:
            ip.batch([f"addr add {upstream.neighbor4}/32 dev lo", "route add 192.88.100.1 via 89.0.3.2"], netns=there)
            ip.batch([f"route add {upstream.neighbor4} via 89.0.{number}.1"], netns=self.pop)

    def _spawn(self, name: str, argv: list[str], what: str) -> None:
        process.spawn(
            netns.command(self.space(name), *argv),
            pid_file=self.folder / f"{what}.pid",
            log=self.folder / f"{what}.out",
        )

    def run(self, name: str, *argv: str) -> str:
        return process.run(netns.command(self.space(name), *argv), timeout_s=10)

    def _frr(self) -> None:
        """Two sessions, IPv6 between link-local addresses; password, GTSM, roles, times, BFD."""
        run = self.folder / "frr"
        run.mkdir()
        shutil.chown(run, "frr", "frr")
        (run / "zebra.conf").write_text("")
        (run / "bfdd.conf").write_text("")
        (run / "bgpd.conf").write_text(f"""
router bgp 65010
 bgp router-id 89.0.1.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor 89.0.1.2 remote-as {OWN}
 neighbor 89.0.1.2 password {PASSWORD}
 neighbor 89.0.1.2 timers 3 9
 neighbor 89.0.1.2 local-role provider
 neighbor 89.0.1.2 bfd 5 100 100
 neighbor fe80::2 remote-as {OWN}
 neighbor fe80::2 interface wan
 address-family ipv4 unicast
  network 8.8.1.0/24
  network 10.1.0.0/16
  neighbor 89.0.1.2 activate
 exit-address-family
 address-family ipv6 unicast
  network 2600:1::/32
  network 2001:db8:1::/48
  neighbor fe80::2 activate
 exit-address-family
exit
""")
        for daemon in ("zebra", "bfdd", "bgpd"):
            argv = [
                str(_FRR_LIB / daemon), "-f", str(run / f"{daemon}.conf"), "-i", str(run / f"{daemon}.frrpid"),
                "-z", str(run / "zserv"), "--vty_socket", str(run), "-A", "127.0.0.1",
            ]  # fmt: skip
            self._spawn(FRR, argv, f"frr-{daemon}")
            # the others try again only after ten seconds where zebra is not there yet
            until((run / "zserv").exists, timeout_s=10, what="start zebra")

    def _frr_heard(self, prefix: Prefix) -> Heard | None:
        family = "ipv6" if prefix.version == 6 else "ipv4"
        found = self.frr_says(f"show bgp {family} unicast {prefix} json")
        if not found.get("paths"):
            return None
        path = found["paths"][0]
        communities = tuple(path.get("community", {}).get("string", "").split())
        large = tuple(path.get("largeCommunity", {}).get("string", "").split())
        more = _extended(path.get("extendedCommunity", {}).get("string", "").split())
        return Heard(path=_numbers(path["aspath"]["string"]), communities=(*communities, *large, *more))

    def _gobgp(self) -> None:
        """A number of four bytes; password, GTSM, passive on our side, graceful restart."""
        (self.folder / "gobgp.toml").write_text(
            """
[global.config]
as = 4200000010
router-id = "89.0.2.1"
"""
            + "".join(
                f"""
[[neighbors]]
[neighbors.config]
neighbor-address = "{address}"
peer-as = {OWN}
auth-password = "{PASSWORD}"
[neighbors.timers.config]
hold-time = 30
keepalive-interval = 10
connect-retry = 1
idle-hold-time-after-reset = 1
[neighbors.ttl-security.config]
enabled = true
ttl-min = 255
[neighbors.graceful-restart.config]
enabled = true
restart-time = 20
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "{family}-unicast"
"""
                for address, family in (("89.0.2.2", "ipv4"), ("2a0e:d000:2::2", "ipv6"))
            )
        )
        argv = ["gobgpd", "-f", str(self.folder / "gobgp.toml"), "--api-hosts", "127.0.0.1:50051", "--disable-stdlog"]
        self._spawn(GOBGP, argv, "gobgp")

    def gobgp_tells(self, *prefixes: str) -> None:
        self._gobgp_rib("add", prefixes)

    def gobgp_takes_back(self, *prefixes: str) -> None:
        self._gobgp_rib("del", prefixes)

    def _gobgp_rib(self, verb: str, prefixes: Sequence[str]) -> None:
        for prefix in prefixes:
            family = ["-a", "ipv6"] if ":" in prefix else []
            self.run(GOBGP, "gobgp", "global", "rib", *family, verb, prefix)

    def _gobgp_heard(self, prefix: Prefix) -> Heard | None:
        family = ["-a", "ipv6"] if prefix.version == 6 else []
        text = self.run(GOBGP, "gobgp", "global", "rib", str(prefix), *family, "-j")
        for route in next(iter(json.loads(text).values()), []) if text.strip() else []:
            attributes = {a["type"]: a for a in route["attrs"]}
            path = tuple(n for segment in attributes[2].get("as_paths", []) for n in segment["asns"])
            plain = tuple(f"{n >> 16}:{n & 0xFFFF}" for n in attributes.get(8, {}).get("communities", ()))
            large = tuple(
                f"{c['ASN']}:{c['LocalData1']}:{c['LocalData2']}" for c in attributes.get(32, {}).get("value", ())
            )
            more = _extended(map(gobgp.word_of, attributes.get(16, {}).get("value", ())))
            return Heard(path=path, communities=(*plain, *large, *more))
        return None

    def _openbgpd(self) -> None:
        """IPv4 over two hops, IPv6 alone on its session; password, role, GTSM."""
        (self.folder / "openbgpd.conf").write_text(f"""
AS 65020
router-id 89.0.3.1
socket "{self.folder}/openbgpd.sock"
fib-update no
network 8.8.3.0/24
network 169.254.0.0/16
network 2600:3::/32
network 3ffe::/16
neighbor 192.88.100.1 {{
 remote-as {OWN}
 local-address 192.88.100.3
 multihop 2
 tcp md5sig password "{PASSWORD}"
 holdtime 30
}}
neighbor 2a0e:d000:3::2 {{
 remote-as {OWN}
 ttl-security yes
 announce policy provider
 announce IPv4 none
 announce IPv6 unicast
}}
allow from any
allow to any
""")
        (self.folder / "openbgpd.conf").chmod(0o600)
        # where it locks itself in; its own package makes it when it starts the service, which it did not here
        Path(pwd.getpwnam("_openbgpd").pw_dir).mkdir(exist_ok=True)
        self._spawn(OPENBGPD, ["bgpd", "-d", "-f", str(self.folder / "openbgpd.conf")], "openbgpd")

    def _openbgpd_heard(self, prefix: Prefix) -> Heard | None:
        for route in self.openbgpd_says("show", "rib", "detail", str(prefix)).get("rib", ()):
            if route["prefix"] == str(prefix):
                communities = (*route.get("communities", ()), *route.get("large_communities", ()))
                more = _extended(route.get("extended_communities", ()))
                return Heard(path=_numbers(route.get("aspath", "")), communities=(*communities, *more))
        return None


def _extended(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(extended_communities.text, extended(words)))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def _upstreams(folder: Path) -> tuple[Upstream, ...]:
    """FRR twice, since its sessions differ; so does OpenBGPD's."""
    secret = str(folder / "password")
    return (
        Upstream(
            name=FRR, asn=65010, interface="up-frr", neighbor4=IPv4Address("89.0.1.1"), local4=IPv4Address("89.0.1.2"),
            password_file=str(folder / "frr.password"), role=Role.CUSTOMER, hold_s=9, keepalive_s=3,
            bfd_interval_ms=100, bfd_multiplier=5,
        ),
        Upstream(
            name=GOBGP, asn=4_200_000_010, interface="up-gobgp", neighbor4=IPv4Address("89.0.2.1"),
            local4=IPv4Address("89.0.2.2"), neighbor6=IPv6Address("2a0e:d000:2::1"),
            local6=IPv6Address("2a0e:d000:2::2"), password_file=secret, ttl_security=True, hold_s=30,
            bfd=False,
        ),
        Upstream(
            name=OPENBGPD, asn=65020, interface="up-open", neighbor4=IPv4Address("192.88.100.3"),
            local4=IPv4Address("192.88.100.1"), multihop=2, password_file=secret, bfd=False,
        ),
        Upstream(
            name="frr-link", asn=65010, interface="up-frr", neighbor6=IPv6Address("fe80::1"), bfd=False,
        ),
        Upstream(
            name="openbgpd-6", asn=65020, interface="up-open", neighbor6=IPv6Address("2a0e:d000:3::1"),
            local6=IPv6Address("2a0e:d000:3::2"), ttl_security=True, role=Role.CUSTOMER, passive=True, bfd=False,
        ),
    )  # fmt: skip
