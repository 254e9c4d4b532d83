"""Whom a host's instances may call by name: what orders hold of it. Pure."""

from dataclasses import replace
from ipaddress import ip_address

from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.plan import Verdict, World
from anypop.model.resolver_check import problems
from anypop.model.stack_names import MOST_NAMED, NamedWorkload
from anypop.plan import stack_names
from anypop.plan.ground import WorldGround
from anypop.plan.orders import order_for
from anypop.plan.planner import plan
from tests.worlds import CITIES, after, network, workload

AMS, LHR = HostName(CITIES[0]), HostName(CITIES[1])


def keys(names: tuple[NamedWorkload, ...]) -> list[str]:
    return [one.key for one in names]


def test_a_host_knows_the_stacks_and_networks_that_it_has() -> None:
    """All of their workloads in all PoPs, and of other stacks and networks nothing."""
    world = World(
        network=network(CITIES[:3]),
        workloads=(
            workload("web", cities=CITIES[:2]),
            workload("db", cities=CITIES[2:3], anycast=False),
            workload("blue", cities=CITIES[:1], anycast=False, network="blue"),
            workload("other", cities=CITIES[1:2], anycast=False, stack_id=StackId("stack-2")),
        ),
    )
    planned = plan(world)
    named = {host: keys(names) for host, names in planned.named.items()}
    assert named[HostName(CITIES[0])] == ["id-blue/blue", "id-db/default", "id-web/default"]
    assert named[HostName(CITIES[1])] == ["id-db/default", "id-other/default", "id-web/default"]
    assert named[HostName(CITIES[2])] == ["id-db/default", "id-web/default"]
    web = next(one for one in planned.named[AMS] if one.slug == "web")
    there = {i.name: tuple(a.private for a in i.addresses()) for p in planned.hosts.values() for i in p.instances}
    assert {i.name: i.addresses for i in web.instances} == {n: a for n, a in there.items() if n.startswith("web-")}
    assert [(p.name, p.port) for p in web.ports] == [("http", 80)]
    assert web is next(one for one in planned.named[HostName(CITIES[2])] if one.slug == "web")  # one object for all


def test_a_name_stays_with_the_older_incarnation_until_that_goes() -> None:
    """A successor that does not serve yet is called by nobody."""
    world = World(network=network(CITIES[:1]), workloads=(workload("web", cities=CITIES[:1], replicas=1),))
    first = plan(world)
    (one,) = first.incarnations
    beside = replace(one, uid="next", life=1, link=9)
    for kept, wanted in (((one, beside), one), ((beside,), beside)):
        second = plan(replace(after(world, first), incarnations=kept))
        (named,) = second.named[AMS]
        order = next(i for i in second.hosts[AMS].instances if i.uid == wanted.uid)
        assert named.instances[0].addresses == tuple(a.private for a in order.addresses())


def test_a_large_stack_is_known_by_the_workloads_of_the_host() -> None:
    """Else one change would be told to every host of it."""
    world = World(
        network=network(CITIES[:2]),
        workloads=(workload("web", cities=CITIES[:2]), workload("db", cities=CITIES[1:2], anycast=False)),
    )
    planned = plan(world)
    whole = {one.key: one for one in planned.named[LHR]}

    def told(count: int) -> list[str]:
        found = stack_names.told_to(
            planned.hosts[AMS],
            WorldGround(world),
            of_stack=lambda _: whole.values(),
            of_workload=lambda w: [one for one in whole.values() if one.id == w],
            count_of=lambda _: count,
        )
        return keys(found)

    assert told(MOST_NAMED) == ["id-db/default", "id-web/default"]
    assert told(MOST_NAMED + 1) == ["id-web/default"]


def test_what_is_being_taken_down_still_asks() -> None:
    """A host of which the last instance of a stack leaves keeps the stack's names until it is gone."""
    world = World(network=network(CITIES[:1]), workloads=(workload("web", cities=CITIES[:1], replicas=2),))
    first = plan(world)
    fewer = (workload("web", cities=CITIES[:1], replicas=1),)
    second = plan(replace(after(world, first), workloads=fewer))
    assert second.removals and WorkloadId("id-web") in {one.id for one in second.named[AMS]}


def test_resolvers_that_a_host_cannot_ask_are_refused() -> None:
    """By their path; none at all is an answer too."""
    plain = network(CITIES[:1])
    (pop,) = plain.pops
    wrong = replace(
        plain,
        resolvers=(ip_address("224.0.0.1"),),
        pops=(replace(pop, hosts=(replace(pop.hosts[0], resolvers=(ip_address("169.254.158.53"),)),)),),
    )
    assert [p.path for p in problems(wrong)] == ["resolvers[0]", "pops[0].hosts[0].resolvers[0]"]
    for right in (None, (), (ip_address("127.0.0.53"), ip_address("2001:db8::1"))):
        assert not list(problems(replace(plain, resolvers=right)))


def test_a_host_is_told_its_own_resolvers_or_those_of_all() -> None:
    one, two = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    plain = replace(network(CITIES[:2]), resolvers=(one,))
    first, second = plain.pops
    own = replace(first, hosts=(replace(first.hosts[0], resolvers=(two,)),))
    planned = plan(World(network=replace(plain, pops=(own, second)), workloads=()))
    assert [
        order_for(
            planned,
            host,
            1,
            Verdict(),
        ).resolvers
        for host in (AMS, LHR)
    ] == [(two,), (one,)]
