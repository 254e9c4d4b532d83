"""A simulated virtual machine, or the disk of one that is off, that goes on at another host: what
`act.instances.machines.leaving`, `resting` and `arriving` do.

In: a host, the step that sends one of its machines. Out: first the guest is the other host's and runs nowhere, a moment
later it runs there; or why it could not be sent. Either host may lose its power in between; who asks again finds out
what has become of it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from anypop.agent.decide import moves
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.steps import CreateContainer, SendMachine
from anypop.model.errors import WorldError

if TYPE_CHECKING:
    from tests.simulate.host import Host


def refusal(here: "Host", step: SendMachine) -> WorldError | None:
    what = f"move {step.instance.name} to {step.move.host}"
    there, mine = here.tunnels.host(step.move.host), here.containers.get((step.uid, step.container))
    if not here.tunnels.is_up(here.name, there.name) or not there.agent.alive:
        return WorldError(what, "no answer")
    if mine is None or mine.moves or (step.move.uid, step.container) in there.containers:
        return None  # what has become of it is asked there
    facts = there.agent.facts
    if facts is None or moves.expected(facts, step.move.uid, here.name) is None:
        return WorldError(what, "it is not expected there")
    return None


def send(here: "Host", step: SendMachine) -> None:
    there, key, to = here.tunnels.host(step.move.host), (step.uid, step.container), (step.move.uid, step.container)
    mine, theirs = here.containers.get(key), there.containers.get(to)
    wanted = ContainerState.CREATED if step.move.rests else ContainerState.RUNNING
    if mine is None or (not mine.moves and mine.state is not wanted):
        return
    if mine.moves and step.move.rests and theirs is not None and theirs.moves:
        _takes(there, to)
        _settle(here, mine, there.containers[to])
    elif mine.moves:
        _settle(here, mine, theirs, rests=step.move.rests)
    elif theirs is None and there.agent.facts is not None:
        found = moves.expected(there.agent.facts, step.move.uid, here.name)
        if found is None:
            return
        instance, container = found
        _gives_away(here, mine)
        there.images.add(container.image_key)
        there.effect(CreateContainer(instance=instance, container=container, generation=0, lane=""))
        there.containers[to] = replace(there.containers[to], moves=True)
        lives = there.lives
        if step.move.rests:
            here.world.after(here.world.between(0.01, 0.3), lambda: _comes(here, there, mine, to, lives))
            return
        here.world.after(here.world.between(0.01, 0.3), lambda: _arrives(here, there, mine, to, lives))


def _takes(there: "Host", to: tuple[str, str]) -> None:
    """It lies there as a whole, and is that host's from now on."""
    there.containers[to] = replace(there.containers[to], moves=False)
    there.world.tell(there.name, f"has the disk of {to[0][:10]}")
    there.agent.wake()


def _comes(here: "Host", there: "Host", mine: ContainerSeen, to: tuple[str, str], lives: int) -> None:
    """The word that it is that host's, unless either of them is dead meanwhile: then it is said once more."""
    theirs, now = there.containers.get(to), here.containers.get(mine.key)
    if there.lives == lives and here.powered and theirs is not None and theirs.moves and now is not None and now.moves:
        _takes(there, to)
        _settle(here, now, there.containers[to])


def _gives_away(here: "Host", mine: ContainerSeen) -> None:
    here.look()
    here.containers[mine.key] = replace(mine, state=ContainerState.CREATED, pid=0, moves=True)
    here.ready.pop(mine.uid, None)
    here.changed(mine.uid)


def _arrives(here: "Host", there: "Host", mine: ContainerSeen, to: tuple[str, str], lives: int) -> None:
    """It runs there, unless that machine was dead meanwhile, or has begun another guest."""
    theirs = there.containers.get(to)
    if there.lives != lives or theirs is None or not theirs.moves:
        return
    there.next_pid += 1
    there.containers[to] = replace(
        theirs, state=ContainerState.RUNNING, pid=there.next_pid, started_at=there.clock(), moves=False
    )
    there.world.tell(there.name, f"the guest {mine.uid[:10]} goes on as {to[0][:10]}")
    there.goes_on(there.containers[to])
    now = here.containers.get(mine.key)
    if now is not None and now.moves:
        _settle(here, now, there.containers[to])


def _settle(here: "Host", mine: ContainerSeen, theirs: ContainerSeen | None, *, rests: bool = False) -> None:
    """Where it is there it has ended here; where nothing of it is there it goes on here, or is here again."""
    if theirs is not None and not theirs.moves:
        here.containers[mine.key] = replace(mine, state=ContainerState.EXITED, pid=0, exit_code=0)
        here.agent.wake()
    elif theirs is None and rests:
        here.containers[mine.key] = replace(mine, moves=False)
    elif theirs is None and here.runs_on(mine):
        here.next_pid += 1
        here.containers[mine.key] = replace(mine, state=ContainerState.RUNNING, pid=here.next_pid, moves=False)
        here.goes_on(here.containers[mine.key])
