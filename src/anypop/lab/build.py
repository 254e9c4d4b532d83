"""A lab's life: `up`, `attach`, `down`. The only way to it for everyone else.

In comes a topology, a name prefix and a folder; out comes a running internet as a `Lab`, which can be found again from
the folder alone (lab.json holds its whole plan, and is written before anything is made). `up` makes and starts what is
missing, whatever was killed before; `down` finds what there is by the prefix and the folder, and may be run at any
moment.
"""

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from anypop.host import netns, process
from anypop.host.lock import alone
from anypop.lab import address, cut, daemons, machine
from anypop.lab.address import LabPlan, VantageHost
from anypop.lab.settle import settle
from anypop.lab.topology import MTU, Topology
from anypop.model import codec
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.network import Network

# Of a lab; a platform has others under the same prefix (its instances), which are its own to remove.
_NAMESPACES = re.compile(r"(as\d+-[a-z0-9]+|pop-[a-z0-9]+(-\d+)?|v-[a-z0-9-]+|mgmt)")
_PREFIX = re.compile(r"[a-z0-9]{1,6}")
# An `ip` whose `up` was killed goes on for a moment and may make another namespace.
_PASSES = 5
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A lab on this machine. `folder` holds lab.json and the files of its daemons."""

    plan: LabPlan
    folder: Path

    def network(self) -> Network:
        """Our own network in it, as an operator would write it down."""
        return address.network_of(self.plan)

    def vantage(self, name: str) -> VantageHost:
        """A vantage by its name. Raises `Invalid` where there is none."""
        for host in self.plan.vantages:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.plan.vantages)
        raise Invalid.one("vantage", f"no vantage is named {name!r}; there are {names}")

    def control_socket(self, router: str) -> Path:
        """BIRD's control socket of a lab router (`as3356-lhr`), or of a PoP's edge router (`pop-lhr`)."""
        return daemons.control_socket(self.folder, router)

    def whole(self) -> bool:
        """Whether everything of it is there: namespaces, links, daemons. It does not ask what the daemons think."""
        pid_files = [self.folder / "wire.pid", *(self.folder / name / "bird.pid" for name in daemons.birds(self.plan))]
        return all(process.alive(file) for file in pid_files) and not machine.missing(self.plan)

    def cut(self, name: str) -> None:
        """Let every frame between a PoP (LHR) and its upstreams, or between a host (LHR-1) and its edge router, vanish;
        both ends believe that their link is up.
        """
        cut.cut(self.plan, name)

    def restore(self, name: str) -> None:
        """Undo `cut`. Harmless where nothing was cut."""
        cut.restore(self.plan, name)

    def is_cut(self, name: str) -> bool:
        return cut.is_cut(self.plan, name)


def _silent(_: str) -> None:
    return


def up(topology: Topology, *, prefix: str, state_dir: Path, progress: Progress = _silent, timeout_s: float = 60) -> Lab:
    """A running lab of `topology`, converged. Finishes or repairs one that is there already under the same prefix and
    folder.

    Raises `Invalid` for a prefix that cannot be used, `WorldError` when the machine does not do as asked within
    `timeout_s`.
    """
    _check_prefix(prefix)
    plan = address.plan(topology, prefix)
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    with alone(state_dir, "build the lab"):
        found = _claim(plan, state_dir)
        progress(f"{len(plan.namespaces())} namespaces and {len(plan.links)} links")
        made = machine.make(plan)
        if found:
            machine.resize(plan, found)
        silent = daemons.start_wire(plan, state_dir, anew=made)
        if found:
            machine.in_parallel(lambda name: cut.restore(plan, name), cut.names(plan))
        progress(f"{len(daemons.birds(plan))} routers")
        started = daemons.start_birds(plan, state_dir)
        if found:
            daemons.renew_sessions(plan, state_dir, started=started, internal=silent)
        progress("routes")
        settle(plan, state_dir, timeout_s=timeout_s)
    return Lab(plan=plan, folder=state_dir)


def attach(state_dir: Path) -> Lab:
    """The lab of a folder, running or not. Raises `WorldError` where there never was one, or it was taken down."""
    state_dir = state_dir.resolve()
    try:
        text = (state_dir / "lab.json").read_bytes()
    except FileNotFoundError as error:
        raise WorldError("find the lab", f"there is none in {state_dir}") from error
    try:
        return Lab(plan=codec.from_json(LabPlan, text), folder=state_dir)
    except Invalid as error:
        why = (
            f"{state_dir / 'lab.json'} was written by another version of this program; take that lab down and build it "
            "anew"
        )
        raise WorldError("find the lab", why) from error


def down(*, prefix: str, state_dir: Path) -> None:
    """Take a lab down: programs, namespaces (with their interfaces, routes and rules) and files. Whatever is gone
    already is no matter.
    """
    _check_prefix(prefix)
    folder = state_dir.resolve()
    with alone(folder, "take the lab down") if folder.exists() else contextlib.nullcontext():
        daemons.end_stray_wires(folder)
        daemons.end_stray_birds(folder)
        for _ in range(_PASSES):
            names = [
                name for name in netns.names(f"{prefix}-") if _NAMESPACES.fullmatch(name.removeprefix(f"{prefix}-"))
            ]
            if not names:
                break
            daemons.end_inside(names)
            machine.remove(names)
        shutil.rmtree(folder, ignore_errors=True)


def prefix_problems(prefix: str) -> list[Problem]:
    """One problem for a prefix that cannot be used."""
    if _PREFIX.fullmatch(prefix):
        return []
    return [Problem(path="prefix", message=f"{prefix!r} must be 1 to 6 of a-z and 0-9")]


def _check_prefix(prefix: str) -> None:
    if found := prefix_problems(prefix):
        raise Invalid(found)


def _claim(plan: LabPlan, folder: Path) -> LabPlan | None:
    """Write lab.json before anything is made. The plan that was there, if there was one: the same, but for MTUs, which
    links can take while they stand. Refuses another lab's folder, and another lab's names.
    """
    file, text = folder / "lab.json", codec.to_json(plan)
    if file.exists():
        found = _written(file)
        if found is None or _unsized(found) != _unsized(plan):
            raise WorldError(
                "build the lab", f"{folder} holds a lab of another topology or prefix; take that one down first"
            )
        if found != plan:
            _write(file, text)
        return found
    taken = [name for name in netns.names(f"{plan.prefix}-") if name in plan.namespaces()]
    if taken:
        raise WorldError(
            "build the lab",
            f"the namespace {taken[0]} belongs to another lab; choose another prefix, or take that one down",
        )
    _write(file, text)
    return None


def _write(file: Path, text: bytes) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(text)
    temporary.rename(file)


def _written(file: Path) -> LabPlan | None:
    with contextlib.suppress(Invalid):
        return codec.from_json(LabPlan, file.read_bytes())
    return None


def _unsized(plan: LabPlan) -> LabPlan:
    topology, own = plan.topology, plan.topology.own
    ases = (replace(a, internal=tuple(replace(link, mtu=MTU) for link in a.internal)) for a in topology.ases)
    pops = (replace(pop, upstreams=tuple(replace(u, mtu=MTU) for u in pop.upstreams)) for pop in own.pops)
    plain = replace(
        topology,
        ases=tuple(ases),
        links=tuple(replace(link, mtu=MTU) for link in topology.links),
        vantages=tuple(replace(vantage, mtu=MTU) for vantage in topology.vantages),
        own=replace(own, pops=tuple(pops)),
    )
    return replace(plan, topology=plain, links=tuple(replace(link, mtu=MTU) for link in plan.links))
