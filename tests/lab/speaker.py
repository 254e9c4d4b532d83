"""A BGP speaker for tests of the lab: a BIRD in a PoP's namespace that announces what it is told, as an agent's would."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from anypop.host import birdc, ip, netns, process
from anypop.lab.address import PopSite
from anypop.lab.build import Lab
from anypop.model.announce import Prefix


@dataclass(kw_only=True)
class Speaker:
    """BIRD of one PoP. `communities` go with the covering prefixes (not with the PoP's own)."""

    lab: Lab
    site: PopSite
    folder: Path
    prefixes: tuple[Prefix, ...]
    communities: list[str] = field(default_factory=list)

    @property
    def control(self) -> Path:
        return self.folder / "bird.ctl"

    def start(self) -> None:
        """Hold every announced prefix's first address on `lo` and start BIRD."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = (self.site.pop.external4, self.site.pop.external6)
        held = [f"addr replace {p[1]}/{p.max_prefixlen} dev lo" for p in (*self.prefixes, *own)]
        ip.batch(held, netns=self.site.netns)
        self._write()
        with netns.inside(self.site.netns):
            argv = ["bird", "-f", "-c", str(self.folder / "bird.conf"), "-s", str(self.control)]
            process.spawn(argv, pid_file=self.folder / "bird.pid", log=self.folder / "bird.log")

    def say(self, *communities: str) -> None:
        """Announce the covering prefixes with these communities ("(209, 7100)") from now on."""
        self.communities[:] = communities
        self._write()
        birdc.ask(self.control, "configure")

    def stop(self) -> None:
        process.end(self.folder / "bird.pid", grace_s=0)

    def _write(self) -> None:
        pop = self.site.pop
        added = " ".join(f"bgp_community.add({c});" for c in self.communities)
        lines = [f"router id {pop.router_id};", "protocol device {}", "log stderr all;"]
        for family in (4, 6):
            ours = [p for p in self.prefixes if p.version == family]
            own = pop.external4 if family == 4 else pop.external6
            covering = ", ".join(str(p) for p in ours)
            local = pop.external4[1] if family == 4 else pop.external6[1]
            lines += [
                f"protocol kernel {{ ipv{family} {{ export filter {{ if source != RTS_BGP then reject; krt_prefsrc = {local}; accept; }}; }}; }}",
                f"protocol static {{ ipv{family}; " + " ".join(f"route {p} unreachable;" for p in (*ours, own)) + " }",
            ]
            for upstream in pop.upstreams:
                here: IPv4Address | IPv6Address | None = upstream.local4 if family == 4 else upstream.local6
                there: IPv4Address | IPv6Address | None = upstream.neighbor4 if family == 4 else upstream.neighbor6
                lines.append(
                    f"protocol bgp up_{upstream.name.replace('-', '_')}_{family} {{ local {here} as {self.lab.network().asn};"
                    f" neighbor {there} as {upstream.asn}; connect delay time 1; connect retry time 1; error wait time 1, 2; bfd on;"
                    f" ipv{family} {{ import all; export filter {{ if source != RTS_STATIC then reject;"
                    f" if net ~ [{covering}] then {{ {added} }} accept; }}; }}; }}"
                )
        lines.append('protocol bfd { interface "up-*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }')
        (self.folder / "bird.conf").write_text("\n".join(lines) + "\n")


def speakers(lab: Lab, folder: Path, prefixes: tuple[Prefix, ...] = ()) -> dict[str, Speaker]:
    """A speaker for each PoP, started, all announcing `prefixes` (default: the first covering prefix of each family)."""
    network = lab.network()
    chosen = prefixes or (network.anycast4[0], network.anycast6[0])
    found = {
        str(site.pop.city): Speaker(lab=lab, site=site, folder=folder / site.pop.city.lower() / "bird", prefixes=chosen)
        for site in lab.plan.sites
    }
    for speaker in found.values():
        speaker.start()
    return found
