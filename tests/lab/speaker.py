"""A PoP without an agent, for tests of the lab alone: a BIRD in its namespace that announces, and a web server that
says its city.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6

from anypop.host import birdc, ip, netns, process
from anypop.lab.address import PopSite
from anypop.lab.build import Lab
from anypop.model.announce import Prefix
from anypop.model.network import Host, Upstream

STOLEN = "203.0.113.0/24"  # every speaker announces this too; it is nobody's, and no upstream should take it


@dataclass(kw_only=True)
class Speaker:
    """One PoP. `saying`: for an upstream's name ("" for all), the communities that go with the covering prefixes
    towards it.
    """

    lab: Lab
    site: PopSite
    folder: Path
    prefixes: tuple[Prefix, ...]
    saying: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return self.site.pop.hosts[0]

    def start(self) -> None:
        """Hold every announced prefix's first address on `lo`, start BIRD and the server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = (self.host.external4, self.host.external6)
        ip.batch(
            [f"addr replace {p[1]}/{p.max_prefixlen} dev lo" for p in (*self.prefixes, *own)], netns=self.site.netns
        )
        self._write()
        with netns.inside(self.site.netns):
            argv = ["bird", "-f", "-c", str(self.folder / "bird.conf"), "-s", str(self.folder / "bird.ctl")]
            process.spawn(argv, pid_file=self.folder / "bird.pid", log=self.folder / "bird.log")
            self.server = _server(str(self.site.pop.city))
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def say(self, *communities: str, to: str = "") -> None:
        """From now on announce the covering prefixes to that upstream with these communities ("(209, 7100)"), to
        others without.
        """
        self.saying = {to: communities}
        self._write()
        birdc.ask(self.folder / "bird.ctl", "configure")

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        process.end(self.folder / "bird.pid", grace_s=0)

    def _write(self) -> None:
        lines = [f"router id {self.host.router_id};", "protocol device {}", "log stderr all;"]
        lines.append(
            'protocol bfd { interface "up-*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }'
        )
        for family in (4, 6):
            own: Prefix = self.host.external4 if family == 4 else self.host.external6
            statics = [str(p) for p in (*self.prefixes, own) if p.version == family] + ([STOLEN] if family == 4 else [])
            chosen = f"if source != RTS_BGP then reject; krt_prefsrc = {own[1]}; accept;"
            lines += [
                f"protocol kernel {{ ipv{family} {{ export filter {{ {chosen} }}; }}; }}",
                f"protocol static {{ ipv{family}; " + " ".join(f"route {p} unreachable;" for p in statics) + " }",
                *(self._session(upstream, family) for upstream in self.host.upstreams),
            ]
        (self.folder / "bird.conf").write_text("\n".join(lines) + "\n")

    def _session(self, upstream: Upstream, family: int) -> str:
        here, there = (upstream.local4, upstream.neighbor4) if family == 4 else (upstream.local6, upstream.neighbor6)
        covering = ", ".join(str(p) for p in self.prefixes if p.version == family)
        communities = self.saying.get(upstream.name, self.saying.get("", ()))
        added = " ".join(f"bgp_community.add({c});" for c in communities)
        return (
            f"protocol bgp up_{upstream.name}_{family} {{ local {here} as {self.lab.network().asn}; neighbor {there} "
            f"as {upstream.asn};"
            " connect delay time 1; connect retry time 1; error wait time 1, 2; bfd on;"
            f" ipv{family} {{ import all; export filter {{ if source != RTS_STATIC then reject;"
            f" if net ~ [{covering}] then {{ {added} }} accept; }}; }}; }}"
        )


def _server(city: str) -> ThreadingHTTPServer:
    """Answers every request with the name of the city, on port 80 of all addresses of the calling thread's
    namespace.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = city.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6
        daemon_threads = True

    return Server(("::", 80), Handler)


@contextmanager
def speaking(lab: Lab, folder: Path) -> Iterator[dict[str, Speaker]]:
    """A speaker for each PoP, by city, all announcing the first covering prefix of each family."""
    network = lab.network()
    found = {
        str(site.pop.city): Speaker(
            lab=lab,
            site=site,
            folder=folder / site.pop.city.lower() / "bird",
            prefixes=(network.anycast4[0], network.anycast6[0]),
        )
        for site in lab.plan.sites
    }
    started: list[Speaker] = []
    try:
        for speaker in found.values():
            speaker.start()
            started.append(speaker)
        yield found
    finally:
        for speaker in started:
            speaker.stop()
