"""Has real daemons print the scenes: `python -m tests.recorded.routes.record [--out DIRECTORY] [--only NAME]`. As root.

Two namespaces: in one a BIRD with a session for each peer of `scenes`, in the other the daemon that prints. What it
printed goes into DIRECTORY/DAEMON-FORM.txt (default: beside this file), and is read by tests and by `script/bench
explain`. Needs the packages frr, gobgpd, openbgpd and bird2 of Debian; BIRD 1.6 is unpacked, since it cannot be
installed beside 2.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.recorded.routes.scenes import PEERS, ROUTER_AS, SCENES, Announced, address, prefix
from tests.wait import wait_until

HERE = Path(__file__).parent
ROUTER = 1


def run(*command: str, namespace: str = "", check: bool = True) -> str:
    """What a command printed, in a network namespace where one is named."""
    where = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    done = subprocess.run([*where, *command], capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


@contextmanager
def wires(name: str) -> Iterator[tuple[str, str]]:
    """Two namespaces with one link, and the addresses of all on it."""
    router, peers = f"{name}-r", f"{name}-p"
    try:
        for namespace in (router, peers):
            run("ip", "netns", "add", namespace)
            run("ip", "link", "set", "lo", "up", namespace=namespace)
        run("ip", "link", "add", "w0", "netns", router, "type", "veth", "peer", "name", "w0", "netns", peers)
        for namespace, numbers in ((router, [ROUTER]), (peers, list(PEERS))):
            for number in numbers:
                run("ip", "addr", "add", f"{address(number, 4)}/24", "dev", "w0", namespace=namespace)
                run("ip", "addr", "add", f"{address(number, 6)}/64", "dev", "w0", "nodad", namespace=namespace)
            run("ip", "link", "set", "w0", "up", namespace=namespace)
        yield router, peers
    finally:
        for namespace in (router, peers):
            run("ip", "netns", "delete", namespace, check=False)


@contextmanager
def daemon(*command: str, namespace: str) -> Iterator[None]:
    """A program in the foreground, ended at the end."""
    started = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{namespace}", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        started.terminate()
        started.wait(timeout=20)


def _attributes(route: Announced) -> str:
    lines = [f"bgp_path.prepend({number});" for number in reversed(route.path)]
    lines.append(f"bgp_origin = ORIGIN_{route.origin};")
    lines += [f"bgp_local_pref = {route.local_pref};"] if route.local_pref is not None else []
    lines += [f"bgp_community.add(({a},{b}));" for a, b in route.communities]
    lines += [f"bgp_large_community.add(({a},{b},{c}));" for a, b, c in route.large]
    for written in route.extended:
        kind, head, tail = written.split(":")
        lines.append(f"bgp_ext_community.add(({kind}, {head}, {tail}));")
    lines += [f"bgp_originator_id = {route.originator};"] if route.originator else []
    lines += [f"bgp_cluster_list.add({cluster});" for cluster in reversed(route.clusters)]
    return " ".join(lines)


def peer_config(peer: int, asn: int) -> str:
    """BIRD's configuration of one peer: its static routes and its two sessions."""
    text = ["log stderr all;", f"router id 10.99.0.{peer};", "protocol device {}"]
    for version in (4, 6):
        routes = "\n".join(
            f"  route {prefix(scene, version)} blackhole {{ {_attributes(route)} }};"
            for scene in SCENES
            for route in scene.routes
            if route.peer == peer
        )
        # Set where it is sent: a MED that was set before does not leave for another AS.
        meds = " ".join(
            f"if net = {prefix(scene, version)} then bgp_med = {route.med};"
            for scene in SCENES
            for route in scene.routes
            if route.peer == peer and route.med is not None
        )
        name = f"{peer}_{version}"
        text.append(f"""
ipv{version} table t{name};
protocol static s{name} {{
  ipv{version} {{ table t{name}; }};
  disabled;
{routes}
}}
protocol bgp b{name} {{
  local {address(peer, version)} as {asn};
  neighbor {address(ROUTER, version)} as {ROUTER_AS};
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1,2;
  ipv{version} {{ table t{name}; import none; export filter {{ {meds} accept; }}; next hop self; }};
}}""")
    return "\n".join(text) + "\n"


@contextmanager
def peers_up(namespace: str, directory: Path) -> Iterator[Callable[..., str]]:
    """All peers, nothing announced yet; gives `birdc` of a peer. One BIRD for each peer."""
    sockets = {peer: str(directory / f"peer{peer}.ctl") for peer in PEERS}

    def birdc(peer: int, *words: str) -> str:
        return run("birdc", "-s", sockets[peer], *words)

    with ExitStack() as started:
        for peer, asn in PEERS.items():
            config = directory / f"peer{peer}.conf"
            config.write_text(peer_config(peer, asn))
            started.enter_context(daemon("bird", "-f", "-c", str(config), "-s", sockets[peer], namespace=namespace))
        wait_until(
            lambda: all(Path(socket).exists() for socket in sockets.values()), timeout_s=10, reason="the peers start"
        )
        yield birdc


def announced(birdc: Callable[..., str], versions: tuple[int, ...]) -> None:
    """Has the peers announce one after another, the greatest number first, a second and more between them."""
    wait_until(
        lambda: all(birdc(peer, "show", "protocols").count("Established") == len(versions) for peer in PEERS),
        timeout_s=60,
        reason="all sessions are open",
    )
    for peer in sorted(PEERS, reverse=True):
        begun = time.monotonic()
        for version in versions:
            birdc(peer, "enable", f"s{peer}_{version}")
        # Ages are printed in whole seconds, and must differ.
        wait_until(partial(_past, begun + 1.2), timeout_s=5, reason="a second")


def _past(moment: float) -> bool:
    return time.monotonic() > moment


Prints = dict[str, str]  # form -> what was printed


def _each(namespace: str, version: int, *command: str) -> str:
    """The command once for each scene, with its prefix in the place of `PREFIX`."""
    return "".join(
        run(*(str(prefix(scene, version)) if word == "PREFIX" else word for word in command), namespace=namespace)
        for scene in SCENES
    )


def bird2(namespace: str, directory: Path, ready: Callable[[], None]) -> Prints:
    return _bird(Path("/usr/sbin"), namespace, directory, ready, modern=True)


def bird1(namespace: str, directory: Path, ready: Callable[[], None]) -> Prints:
    """BIRD 1.6, unpacked: its package and that of 2 exclude each other."""
    subprocess.run(["apt-get", "download", "bird"], cwd=directory, check=True, capture_output=True)
    (package,) = directory.glob("bird_*.deb")
    subprocess.run(["dpkg", "-x", package, directory], check=True)
    return _bird(directory / "usr" / "sbin", namespace, directory, ready, modern=False)


def _bird(programs: Path, namespace: str, directory: Path, ready: Callable[[], None], *, modern: bool) -> Prints:
    sessions = "\n".join(
        f"""protocol bgp peer{peer}_v{version} {{
  local {address(ROUTER, version)} as {ROUTER_AS};
  neighbor {address(peer, version)} as {asn};
  passive;
  {f"ipv{version} {{ import all; export none; }};" if modern else "import all; export none;"}
}}"""
        for peer, asn in PEERS.items()
        for version in ((4, 6) if modern else (4,))
    )
    direct = "protocol direct { ipv4; ipv6; }" if modern else "protocol direct {}"
    config, socket = directory / "router.conf", str(directory / "router.ctl")
    config.write_text(f"log stderr all;\nrouter id 10.99.0.{ROUTER};\nprotocol device {{}}\n{direct}\n{sessions}\n")
    with daemon(str(programs / "bird"), "-f", "-c", str(config), "-s", socket, namespace=namespace):
        wait_until(Path(socket).exists, timeout_s=10, reason="BIRD starts")
        ready()
        ask = (str(programs / "birdc"), "-s", socket)
        tables = {4: "master4", 6: "master6"} if modern else {4: "master"}
        forms = {
            f"all-v{version}": _each(namespace, version, *ask, "show", "route", "for", "PREFIX", "table", table, "all")
            for version, table in tables.items()
        }
        forms["sessions-v4"] = forms["all-v4"] + run(*ask, "show", "protocols", "all", namespace=namespace)
        forms["whole-v4"] = run(*ask, "show", "route", "table", tables[4], "all", namespace=namespace)
        return forms


def frr(namespace: str, directory: Path, ready: Callable[[], None]) -> Prints:
    lines = [f"router bgp {ROUTER_AS}", f" bgp router-id 10.99.0.{ROUTER}", " no bgp ebgp-requires-policy"]
    lines += [
        f" neighbor {address(peer, version)} remote-as {asn}" for peer, asn in PEERS.items() for version in (4, 6)
    ]
    lines += [f" address-family ipv{v} unicast" for v in (6,)]
    lines += [f"  neighbor {address(peer, 6)} activate" for peer in PEERS]
    lines += [" exit-address-family", f" no neighbor {address(2, 6)} shutdown"]
    lines += [f" address-family ipv4 unicast\n  no neighbor {address(peer, 6)} activate\n exit" for peer in PEERS]
    run_directory = directory / "frr"
    run_directory.mkdir(mode=0o777)
    run_directory.chmod(0o777)
    (directory / "bgpd.conf").write_text("\n".join(lines) + "\n")
    (directory / "zebra.conf").write_text("!\n")
    for name in ("bgpd.conf", "zebra.conf"):
        (directory / name).chmod(0o644)
    directory.chmod(0o755)
    sockets = ("--vty_socket", str(run_directory), "-z", str(run_directory / "zserv.api"))
    zebra = ("/usr/lib/frr/zebra", "-f", str(directory / "zebra.conf"), "-i", str(run_directory / "z.pid"), *sockets)
    bgpd = ("/usr/lib/frr/bgpd", "-f", str(directory / "bgpd.conf"), "-i", str(run_directory / "b.pid"), *sockets)
    with daemon(*zebra, namespace=namespace):
        wait_until((run_directory / "zebra.vty").exists, timeout_s=10, reason="zebra starts")
        with daemon(*bgpd, namespace=namespace):
            wait_until((run_directory / "bgpd.vty").exists, timeout_s=10, reason="FRR's bgpd starts")
            ready()
            ask = ("vtysh", "--vty_socket", str(run_directory), "-c")
            forms: Prints = {}
            for version in (4, 6):
                show = f"show bgp ipv{version} unicast"
                forms[f"entry-v{version}"] = "".join(
                    run(*ask, f"{show} {prefix(scene, version)}", namespace=namespace) for scene in SCENES
                )
                forms[f"table-v{version}"] = run(*ask, show, namespace=namespace)
                forms[f"json-v{version}"] = run(*ask, f"{show} json", namespace=namespace)
                forms[f"wide-v{version}"] = run(*ask, f"{show} wide", namespace=namespace)
            # One document in a line.
            forms["json-entry-v4"] = "".join(
                json.dumps(json.loads(run(*ask, f"show bgp ipv4 unicast {prefix(scene, 4)} json", namespace=namespace)))
                + "\n"
                for scene in SCENES
            )
            return forms


def openbgpd(namespace: str, directory: Path, ready: Callable[[], None]) -> Prints:
    socket = directory / "bgpd.sock"
    neighbours = "\n".join(
        f"neighbor {address(peer, version)} {{\n remote-as {asn}\n local-address {address(ROUTER, version)}\n"
        f" announce IPv{version} unicast\n passive\n}}"
        for peer, asn in PEERS.items()
        for version in (4, 6)
    )
    (directory / "openbgpd.conf").write_text(
        f'AS {ROUTER_AS}\nrouter-id 10.99.0.{ROUTER}\nfib-update no\nsocket "{socket}"\n{neighbours}\n'
        "allow from any\ndeny to any\n"
    )
    (directory / "openbgpd.conf").chmod(0o600)
    Path("/run/openbgpd").mkdir(exist_ok=True)  # where it locks itself in; Debian's service makes it
    with daemon("/usr/sbin/bgpd", "-d", "-f", str(directory / "openbgpd.conf"), namespace=namespace):
        wait_until(socket.exists, timeout_s=10, reason="OpenBGPD starts")
        ready()
        ask = ("bgpctl", "-s", str(socket))
        forms: Prints = {}
        for version in (4, 6):
            family = "inet" if version == 4 else "inet6"
            forms[f"table-v{version}"] = run(*ask, "show", "rib", family, namespace=namespace)
            forms[f"detail-v{version}"] = run(*ask, "show", "rib", family, "detail", namespace=namespace)
        forms["json-v4"] = run(*ask, "-j", "show", "rib", "inet", namespace=namespace)
        forms["json-detail-v4"] = run(*ask, "-j", "show", "rib", "inet", "detail", namespace=namespace)
        return forms


def gobgp(namespace: str, directory: Path, ready: Callable[[], None]) -> Prints:
    lines = ["[global.config]", f"as = {ROUTER_AS}", f'router-id = "10.99.0.{ROUTER}"', "port = 179"]
    for peer, asn in PEERS.items():
        for version in (4, 6):
            lines += [
                "[[neighbors]]",
                "[neighbors.config]",
                f'neighbor-address = "{address(peer, version)}"',
                f"peer-as = {asn}",
                "[neighbors.transport.config]",
                "passive-mode = true",
                "[[neighbors.afi-safis]]",
                "[neighbors.afi-safis.config]",
                f'afi-safi-name = "ipv{version}-unicast"',
            ]
    (directory / "gobgpd.conf").write_text("\n".join(lines) + "\n")
    with daemon("gobgpd", "-f", str(directory / "gobgpd.conf"), "-t", "toml", namespace=namespace):
        ready()
        forms: Prints = {}
        for version in (4, 6):
            ask = ("gobgp", "global", "rib", "-a", f"ipv{version}")
            forms[f"table-v{version}"] = run(*ask, namespace=namespace)
            forms[f"json-v{version}"] = run(*ask, "-j", namespace=namespace)
        forms["one-v4"] = _each(namespace, 4, "gobgp", "global", "rib", "PREFIX", "-a", "ipv4")
        return forms


DAEMONS: dict[str, Callable[[str, Path, Callable[[], None]], Prints]] = {
    "bird": bird2,
    "bird1": bird1,
    "frr": frr,
    "openbgpd": openbgpd,
    "gobgp": gobgp,
}


def recorded(name: str, directory: Path) -> Prints:
    """All forms of one daemon, run now."""
    number = list(DAEMONS).index(name)
    with wires(f"rec{os.getpid()}{number}") as (router, peers), peers_up(peers, directory) as birdc:
        return DAEMONS[name](router, directory, lambda: announced(birdc, (4,) if name == "bird1" else (4, 6)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="directory for the texts")
    parser.add_argument("--only", choices=DAEMONS, help="one daemon alone")
    options = parser.parse_args()
    for name in [options.only] if options.only else DAEMONS:
        with tempfile.TemporaryDirectory() as made:
            for form, text in recorded(name, Path(made)).items():
                (options.out / f"{name}-{form}.txt").write_text(text)
                print(f"{name}-{form}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
