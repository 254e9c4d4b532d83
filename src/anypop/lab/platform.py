"""The whole platform on one machine: an internet, a registry, control, and for each host a Podman and an agent.

Comes in: a topology and a place (state folder, name prefix, ports). Goes out: running programs, the same that a real
deployment runs, found again by pid file and name. `up` repairs what was killed; `down` leaves nothing outside the state
folder, whatever was killed before. It starts programs by their command lines and knows nothing of what they decide.
"""

import contextlib
import json
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from anypop.host import netns, process
from anypop.host.lock import alone
from anypop.lab import address, build, folder, metrics, podman, preflight, programs, registry
from anypop.lab.address import INSTANCES, MANAGEMENT
from anypop.lab.place import RECORD, Platform, find
from anypop.lab.topology import Topology
from anypop.lab.topology_read import load
from anypop.lab.until import until
from anypop.model import codec
from anypop.model.confinement import InstanceRules
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.names import OWN_CA, is_public_name

__all__ = ["DEFAULT_STATE", "LAB_READY", "Platform", "down", "find", "up"]

DEFAULT_STATE = Path("/var/lib/anypop")
SUPERVISOR_S = 10.0  # a restart by the supervisor is waited for; two `up` or `down` at once are not

LAB_READY = "registry and one Podman for each host"  # the step that begins when the internet stands

Progress = Callable[[str], None]


def up(
    topology_file: Path,
    *,
    state: Path,
    prefix: str,
    api_port: int,
    registry_port: int,
    progress: Progress,
    supervised: bool = True,
    public_names: tuple[str, ...] = (),
    certificate: tuple[Path, Path] | None = None,
    store: bool = False,
) -> Platform:
    """Start everything that does not run yet. Of a new platform: `supervised`, whether what dies is started anew;
    `public_names`, further names that control's certificate has; `certificate`: files for the real ones, and of their
    key; `store`: with a store of metrics. Raises `Invalid` with every problem found,
    `WorldError` when a part does not start.
    """
    topology = load(topology_file.read_text(), name=str(topology_file))
    wrong = [
        Problem(path="public_name", message=f"{name!r} is neither a host name nor an address")
        for name in public_names
        if not is_public_name(name.removeprefix(OWN_CA))
    ]
    if found := [*build.prefix_problems(prefix), *wrong, *preflight.problems()]:
        raise Invalid(found)
    state = state.absolute()
    folder.enter(state)
    with folder.unwritable(), folder.roomy(state), alone(state, "up or down", wait_s=SUPERVISOR_S):
        place = find(state)
        if place is None:
            place = _claim(
                topology_file, topology, state=state, prefix=prefix, api_port=api_port,
                registry_port=registry_port, supervised=supervised, public_names=public_names, certificate=certificate,
                store=store,
            )  # fmt: skip
        elif not place.dead() and build.attach(state / "lab").whole() and _has_image(place):
            raise WorldError(
                "up", f"this platform is up already at {place.api}; take it down with: anypop down --state {state}"
            )
        elif place.supervised:  # first: what this `up` cannot start, if it fails, is then tried again
            programs.start(place, "supervisor")
        progress("internet")
        lab = build.up(topology, prefix=place.prefix, state_dir=state / "lab", progress=progress)
        # the lab's Internet has private addresses
        rules = InstanceRules(registries=(f"127.0.0.1:{place.registry_port}",), unreachable=(MANAGEMENT, *INSTANCES))
        network = replace(lab.network(), instances=rules)
        (state / "network.yaml").write_text(json.dumps(codec.to_data(network), indent=1))

        progress(LAB_READY)
        podman.write_registries(state / "registries.conf", f"127.0.0.1:{place.registry_port}")
        programs.start(place, "registry")
        for host in place.hosts:
            programs.start(place, f"podman-{host.lower()}")

        progress("control")
        if place.metrics_port:
            metrics.prepare(place)
        programs.start(place, "control")
        registry_url = f"http://127.0.0.1:{place.registry_port}/v2/"
        until(lambda: _answers(registry_url), timeout_s=15, what="the registry", log=place.log("registry"))
        if not _has_image(place):
            registry.publish_hello(place.podman(place.hosts[0]), place.registry_port, state / "image")
        trust = _trust(state / "control" / "ca.pem", place)
        until(
            lambda: _answers(f"{place.api}/anypop/v1/healthz", trust),
            timeout_s=60,
            what="control",
            log=place.log("control"),
        )

        if place.metrics_port:
            progress("store of metrics")
            programs.start(place, "metrics")  # nothing waits for it: control runs without
        progress("an agent on each host")
        for host in place.hosts:
            programs.start(place, f"agent-{host.lower()}")
        for host in place.hosts:
            sign = place.home(host) / "order.json"
            until(sign.exists, timeout_s=30, what=f"the agent of {host}", log=place.log(f"agent-{host.lower()}"))
        if place.supervised:
            programs.start(place, "supervisor")
    return place


def down(state: Path, *, progress: Progress, purge: bool = False) -> bool:
    """Take everything down. The state folder stays (workloads come back with the next `up`) unless `purge`. False when
    nothing was up.

    Raises `Invalid` when it is not root that asks, `WorldError` for a `purge` of a folder that is no platform's.
    """
    if found := preflight.user_problems():
        raise Invalid(found)
    state = state.absolute()
    place = find(state)
    if place is None:
        if not (purge and state.exists()):
            return False
        folder.must_be_ours(state)
    with folder.unwritable(), alone(state, "up or down", wait_s=SUPERVISOR_S):
        if place is not None:
            _take_down(place, progress=progress, purge=purge)
        if purge:
            folder.purge(state)
        elif place is not None:
            (state / RECORD).unlink()
    return place is not None


def _take_down(place: Platform, *, progress: Progress, purge: bool) -> None:
    """End and remove everything but the state folder. Its record stays until nothing else does: whatever fails here,
    or dies, can be asked for again. Raises `WorldError` with what is left.
    """
    progress("agents and control")
    programs.end(place, "supervisor")
    for host in place.hosts:
        programs.end(place, f"agent-{host.lower()}")
    programs.end(place, "control")
    if place.metrics_port:
        programs.end(place, "metrics")
    progress("instances")
    for host in place.hosts:  # a Podman that was killed is needed once more to remove its containers
        with contextlib.suppress(WorldError, OSError):  # on a full disk it does not start; an agent does without
            programs.start(place, f"podman-{host.lower()}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: process.run(place.agent_command(host, "--teardown"), timeout_s=120), place.hosts))
    progress("internet")
    build.down(prefix=place.prefix, state_dir=place.state / "lab")
    programs.end(place, "registry")
    for host in place.hosts:
        programs.end(place, f"podman-{host.lower()}")
    programs.end_late(place)
    for host in place.hosts:
        podman.erase(place.podman(host), keep_images=not purge)
    shutil.rmtree(place.run, ignore_errors=True)
    with contextlib.suppress(OSError):  # other platforms of this machine have their own folders there
        place.run.parent.rmdir()
    if found := programs.left(place):
        raise WorldError("down", f"this is left: {', '.join(found)}; run it again: anypop down --state {place.state}")


def _claim(
    topology_file: Path, topology: Topology, *, state: Path, prefix: str, api_port: int, registry_port: int,
    supervised: bool, public_names: tuple[str, ...], certificate: tuple[Path, Path] | None, store: bool,
) -> Platform:  # fmt: skip
    """Write down what is about to be started, before anything is, so that `down` can find it whatever happens."""
    ports = {"port": api_port, "registry_port": registry_port}
    found = [problem for field, port in ports.items() if port and (problem := preflight.port_problem(field, port))]
    if netns.names(f"{prefix}-"):
        message = (
            f"namespaces named {prefix}-* exist already, from another platform: choose another --prefix, or take that "
            "one down"
        )
        found.append(Problem(path="prefix", message=message))
    if found:
        raise Invalid(found)
    place = Platform(
        state=state,
        prefix=prefix,
        topology=topology_file.resolve(),
        api_port=api_port or preflight.free_port(),
        registry_port=registry_port or preflight.free_port(),
        cities=tuple(pop.city for pop in topology.own.pops),
        hosts=tuple(name for pop in topology.own.pops for name in address.host_names(pop)),
        supervised=supervised,
        public_names=public_names,
        certificate=str(certificate[0].absolute()) if certificate else "",
        key=str(certificate[1].absolute()) if certificate else "",
        metrics_port=preflight.free_port() if store and metrics.is_here() else 0,
    )
    for part in ("run", "log", "pops"):
        (state / part).mkdir(exist_ok=True, mode=0o700)
    record = asdict(place) | {"state": str(state), "topology": str(place.topology)}
    temporary = state / "platform.tmp"
    temporary.write_text(json.dumps(record, indent=1))
    temporary.rename(state / RECORD)
    return place


def _trust(ca: Path, place: Platform) -> ssl.SSLContext:
    until(ca.exists, timeout_s=60, what="control", log=place.log("control"))
    return ssl.create_default_context(cafile=str(ca))


def _has_image(place: Platform) -> bool:
    return _answers(f"http://127.0.0.1:{place.registry_port}/v2/{registry.IMAGE.replace(':', '/manifests/')}")


def _answers(url: str, trust: ssl.SSLContext | None = None) -> bool:
    try:
        asked = urllib.request.Request(url, headers={"Accept": f"{registry.MANIFESTS}, */*"})
        with urllib.request.urlopen(asked, timeout=5, context=trust) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
