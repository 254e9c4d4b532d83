"""Which container of which incarnation on which host a person means, and how flags are read from a query.

In: an instance's name or id, a container's name. Out: where it runs; or a refusal that names what there is. Pure, over
control's state.
"""

from dataclasses import dataclass

from anypop.api import slots
from anypop.api.context import Platform
from anypop.control.refusals import NotFound
from anypop.control.state import Declaration, Revision
from anypop.model.errors import Problem
from anypop.model.names import HostName, InstanceName


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One container."""

    host: HostName
    instance: InstanceName
    uid: str
    name: str


def container(platform: Platform, declared: Declaration, instance: str, name: str) -> Running:
    """The container `name` of an instance; the first one where `name` is empty. Raises `NotFound`."""
    state, now = platform.core.state, platform.clock()
    every = slots.lives(state, declared, now)
    lives = (one.incarnation for one in (*slots.slots(every), *every))
    life = next((life for life in lives if instance in (life.name, life.uid)), None)
    if life is None:
        raise NotFound(f"no instance {instance}")
    revision = state.revision(declared.id, life.revision) or declared.newest
    names = names_in(revision)
    if name and name not in names:
        raise NotFound(f"no container {name} in {life.name}; it has {', '.join(names)}")
    return Running(host=life.host, instance=life.name, uid=life.uid, name=name or names[0])


def names_in(revision: Revision) -> list[str]:
    """Of the containers, or the virtual machine, that an instance of a revision has."""
    spec = revision.document.get("spec", {})
    return [name for kind in ("containers", "virtualMachines", "initContainers") for name in spec.get(kind, {})]


def flag(text: str, path: str, problems: list[Problem]) -> bool:
    """Whether it is set; what is none of the words for it goes to `problems`."""
    match text.lower():
        case "" | "false" | "0":
            return False
        case "true" | "1":
            return True
    problems.append(Problem(path=path, message="must be true or false"))
    return False
