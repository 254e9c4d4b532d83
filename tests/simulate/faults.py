"""What goes wrong on a simulated platform.

In: the platform and the dice of one act. Out: something is broken, and for most of it, a time at which it is mended.
What is still broken at the end of a story is mended there (`lives`).
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from anypop.model.names import HostName
from tests.simulate.host import Host
from tests.simulate.world import Do

if TYPE_CHECKING:
    from tests.simulate.lives import Platform


def _host(platform: "Platform", dice: Random) -> Host:
    return platform.hosts[HostName(dice.choice(sorted(platform.hosts)))]


def _for_a_while(host: Host, what: str, dice: Random, seconds: tuple[float, float], end: Do) -> None:
    world = host.world
    host.troubled_at = world.now
    world.tell(host.name, what)

    def over() -> None:
        host.troubled_at = world.now
        world.tell(host.name, f"over: {what}")
        end()

    world.after(dice.uniform(*seconds), over)


def power_fails(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    host.power_off()
    _for_a_while(host, "loses power", dice, dice.choice(((2.0, 10.0), (10.0, 40.0), (60.0, 100.0))), host.power_on)


def every_host_reboots(platform: "Platform", dice: Random) -> None:
    for host in platform.hosts.values():
        host.power_off()
        _for_a_while(host, "loses power, as all do", dice, (1.0, 20.0), host.power_on)
    if dice.random() < 0.4:
        platform.control.kill("with all hosts")
        platform.world.after(dice.uniform(1.0, 60.0), platform.control.start)


def agent_dies(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    agent = platform.agents[host.name]
    if dice.random() < 0.6:
        agent.dies_after = dice.randint(1, 12)
        platform.world.tell(host.name, f"the agent will die {agent.dies_after} effects from now")
        return
    stays_away = dice.random() < 0.3
    agent.killed("kill -9", back_in=dice.uniform(5.0, 30.0) if stays_away else 1.0)
    host.troubled_at = platform.world.now


def speaker_dies(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    platform.world.tell(host.name, "BIRD is killed")
    host.bird_dies()


def session_is_cut(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    machine = platform.control.state.network.host(host.name)
    assert machine is not None
    upstream, world = dice.choice(machine.upstreams), platform.world
    times = dice.choice((1, 1, 4, 6))
    length = dice.uniform(0.5, 3.0) if times > 1 else dice.uniform(1.0, 30.0)

    def cut(left: int) -> None:
        if platform.healed:
            return
        host.troubled_at = world.now
        world.tell(host.name, f"the cable to {upstream.name} is cut")
        for version in (4, 6):
            host.neighbours.lose((upstream.name, version))
        platform.agents[host.name].sessions_changed()
        world.after(length, lambda: mend(left))

    def mend(left: int) -> None:
        host.troubled_at = world.now
        for version in (4, 6):
            host.neighbours.mend((upstream.name, version), host.clock())
        for later in (0.3, 1.0, 2.0):
            world.after(later, platform.agents[host.name].sessions_changed)
        if left > 1:
            world.after(length + 1.0, lambda: cut(left - 1))

    cut(times)


def instances_die(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    running = sorted({c.uid for c in host.containers.values() if host.runs(c.uid)})
    for uid in running if dice.random() < 0.3 else running[:1]:
        platform.world.tell(host.name, f"the processes of {uid[:10]} die")
        host.die(uid)


def instances_fall_ill(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    ill = sorted(uid for uid in host.ready if dice.random() < 0.7)
    times = dice.choice((1, 1, 3))
    length = dice.uniform(2.0, 25.0) if times == 1 else dice.uniform(4.0, 7.0)

    def falls(left: int) -> None:
        for uid in ill:
            platform.world.tell(host.name, f"{uid[:10]} answers no more")
            host.falls_ill(uid)
        platform.world.after(length, lambda: rises(left))

    def rises(left: int) -> None:
        host.recovers(ill)
        if left > 1:
            platform.world.after(length, lambda: falls(left - 1))

    falls(times)


def probes_lie(platform: "Platform", dice: Random) -> None:
    """On one host, on most, or everywhere at once."""
    many = dice.choice((1, 1, len(platform.hosts) - 1, len(platform.hosts)))
    says, length = dice.random() < 0.3, dice.uniform(3.0, 30.0)
    for name in dice.sample(sorted(platform.hosts), many):
        host = platform.hosts[HostName(name)]
        host.probes_lie = says

        def honest(host: Host = host) -> None:
            host.probes_lie = None
            host.lied_at = platform.world.now
            _ask_all(host)

        _for_a_while(host, f"all probes {'pass' if says else 'fail'}", dice, (length, length + 1), honest)
        _ask_all(host)


def _ask_all(host: Host) -> None:
    for uid in sorted({c.uid for c in host.containers.values()}):
        host.changed(uid)


def _flag(name: str, what: str, longest_s: float = 20.0) -> "object":
    def fault(platform: "Platform", dice: Random) -> None:
        host = _host(platform, dice)
        setattr(host, name, True)

        def over() -> None:
            setattr(host, name, False)
            host.greedy.clear()
            platform.agents[host.name].wake()

        if name == "disk_full" and dice.random() < 0.3:
            host.greedy |= {c.uid for c in host.containers.values()}
            host.were_greedy |= host.greedy
            platform.agents[host.name].wake()
        _for_a_while(host, what, dice, (1.0, longest_s), over)

    fault.__name__ = name
    return fault


def clock_jumps(platform: "Platform", dice: Random) -> None:
    by = dice.choice((-3600.0, -60.0, 60.0, 3600.0, 86400.0))
    if dice.random() < 0.4:
        platform.control.wall_off_s += by
        platform.world.tell("control", f"its clock is set by {by:+.0f} s")
    else:
        host = _host(platform, dice)
        host.wall_off_s += by
        platform.world.tell(host.name, f"its clock is set by {by:+.0f} s")


def wire_is_cut(platform: "Platform", dice: Random) -> None:
    """Between control and one host, or all of them."""
    length = dice.choice(((1.0, 12.0), (16.0, 40.0), (70.0, 100.0)))
    names = sorted(platform.hosts) if dice.random() < 0.25 else [_host(platform, dice).name]
    for name in names:
        host = platform.hosts[HostName(name)]
        host.wire.cut = True
        platform.agents[host.name].line.lost()
        platform.world.tell(host.name, "control is out of reach")
        platform.world.after(dice.uniform(*length), host.wire.heal)


def wire_is_bad(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    host.wire.loses, host.wire.doubles, host.wire.slow_s = (
        dice.uniform(0, 0.5),
        dice.uniform(0, 0.5),
        dice.uniform(0, 8),
    )
    platform.world.tell(host.name, f"its way to control loses {host.wire.loses:.0%}, doubles and delays")
    platform.world.after(dice.uniform(5.0, 40.0), host.wire.heal)


def tunnels_are_cut(platform: "Platform", dice: Random) -> None:
    """Of one host with another or with all, in both directions or in one; the agents and control hear each other."""
    if not platform.tunnels.used:
        return
    name = _host(platform, dice).name
    others = [HostName(other) for other in sorted(platform.hosts) if other != name]
    others = others if dice.random() < 0.5 else [dice.choice(others)]
    out, into = {(name, other) for other in others}, {(other, name) for other in others}
    pairs = dice.choice((out, into, out | into))
    platform.world.tell(name, f"{len(pairs)} tunnels are cut", "one way" if len(pairs) == len(others) else "both ways")
    platform.tunnels.cuts(pairs)
    platform.world.after(
        dice.choice((dice.uniform(0.3, 5.0), dice.uniform(5.0, 60.0))), lambda: platform.tunnels.heals(pairs)
    )


def control_dies(platform: "Platform", dice: Random) -> None:
    control, world = platform.control, platform.world
    if dice.random() < 0.5:
        control.dies_at = dice.choice(("before", "after"))
    else:
        control.kill("kill -9")
    world.after(dice.choice((dice.uniform(0.5, 5.0), dice.uniform(5.0, 60.0))), control.start)


def store_fails(platform: "Platform", dice: Random) -> None:
    control = platform.control
    control.store_full = True
    platform.world.tell("control", "its disk is full")

    def over() -> None:
        control.store_full = False

    platform.world.after(dice.uniform(1.0, 25.0), over)


def store_is_restored(platform: "Platform", dice: Random) -> None:
    if platform.control.copies and platform.control.up:
        platform.restored = True
        platform.control.restore(dice.choice(platform.control.copies))


def somebody_meddles(platform: "Platform", dice: Random) -> None:
    """A route, a group, a cover or a namespace is deleted behind the agent's back."""
    host = _host(platform, dice)
    kinds = ("route", "cover", "external", "namespace", "firewall", "tunnel")
    what = dice.choice(kinds if platform.tunnels.used else kinds[:-1])
    host.troubled_at = platform.world.now
    platform.world.tell(host.name, f"somebody deletes: {what}")
    if what == "route" and host.routed:
        address = sorted(host.routed, key=str)[0]
        host.routed.discard(address)
        host.groups.pop(address)  # whose flows are lost with it
    elif what == "cover" and host.covers:
        host.covers.discard(sorted(host.covers, key=str)[0])
    elif what == "external" and host.external:
        host.external.pop(sorted(host.external, key=str)[0])
    elif what == "namespace" and host.ready:
        host.loses_namespace(min(host.ready), link=dice.random() < 0.5)
    elif what == "tunnel":
        host.loses_tunnel()
    elif what == "firewall":
        host.firewall = None
        platform.agents[host.name].rules_changed()
    if dice.random() < 0.7:  # else the event is lost, and a full pass finds it
        platform.agents[host.name].wake()


def ledger_is_damaged(platform: "Platform", dice: Random) -> None:
    host = _host(platform, dice)
    if host.page is not None and host.powered and platform.agents[host.name].alive:
        host.page = host.told = None
        host.troubled_at = platform.world.now
        platform.agents[host.name].killed("and its ledger is damaged")


def answers_get_lost(platform: "Platform", dice: Random) -> None:
    """On the way: the vantages miss some, and no host knows of it."""
    platform.loses_answers = True
    platform.world.tell("vantages", "some answers get lost")

    def over() -> None:
        platform.loses_answers = False

    platform.world.after(dice.uniform(2.0, 20.0), over)


def somebody_forges(platform: "Platform", dice: Random) -> None:
    """A host says of others what is none of its business, and claims a generation that never was."""
    liar, other = dice.sample(sorted(platform.hosts), 2)
    agent, control = platform.agents[HostName(liar)], platform.control
    if not control.up or not agent.alive:
        return
    uids = tuple(c.uid for c in platform.hosts[HostName(other)].containers.values())
    # what a host says of its own is believed: of that it lies to itself
    stones = [uid for uid, stone in control.state.tombstones.items() if stone.incarnation.host != liar]
    mine = {c.uid for c in platform.hosts[HostName(liar)].containers.values()}
    report = replace(agent.make_report(), gone=tuple(u for u in (*uids, *stones) if u not in mine))
    if dice.random() < 0.3:
        report = replace(report, generation=2**40)
    platform.world.tell(liar, f"says that what {other} runs is gone")
    control.take(report, lambda well: None)


ACTS = (
    (6, power_fails),
    (2, every_host_reboots),
    (8, agent_dies),
    (3, speaker_dies),
    (4, session_is_cut),
    (5, instances_die),
    (5, instances_fall_ill),
    (4, probes_lie),
    (2, _flag("disk_full", "its disk is full")),
    (2, _flag("registry_away", "no registry answers")),
    (2, _flag("runtime_refuses", "the runtime refuses")),
    (2, _flag("runtime_hangs", "the runtime hangs")),
    (1, _flag("nft_refuses", "nft refuses", 4.0)),
    (3, clock_jumps),
    (5, wire_is_cut),
    (5, wire_is_bad),
    (6, control_dies),
    (2, store_fails),
    (1, store_is_restored),
    (4, somebody_meddles),
    (1, ledger_is_damaged),
    (2, somebody_forges),
    (1, answers_get_lost),
)

WHERE_HOSTS_CARRY = ((8, tunnels_are_cut),)
