"""What people ask of a simulated platform: they deploy, update, scale, move, roll back, delete, withhold and steer.

In: the platform and the dice of one act. Out: a request to control, which may be refused or may find nobody.
"""

import copy
from random import Random
from typing import TYPE_CHECKING, Any

from anypop.control import drains, hosts, rollouts
from anypop.control.accounts import Stack
from anypop.control.declare import create, delete, parsed, replace_with, set_rules, with_images
from anypop.control.state import Declaration
from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.drain import Aim, DrainKind
from anypop.model.names import StackId, WorkloadId
from anypop.model.rollout import Landing, RolloutKind, ScopeChange, ScopeWave, Strategy
from anypop.plan.parse import Parsed
from anypop.plan.rollout import wants_look
from tests.control_world import a_body
from tests.simulate.images import machine_image_of
from tests.simulate.world import BEGAN

if TYPE_CHECKING:
    from tests.simulate.lives import Platform

STACK = Stack(
    id=StackId("s"), account_id="a", slug="default", name="default", status="ACTIVE", created_at=BEGAN, updated_at=BEGAN
)
SLUGS = ("one", "two")
GOOD = ("good:1", "good:2", "good:3", "slow:1")
BAD = ("sick:1", "crashes:1", "eats-memory:1", "breaks-later:1", "not-there:1", "cannot-be-made:1", "only-ipv4:1")


def body(
    platform: "Platform", n: int, *, image: str, replicas: int, cities: list[str], label: str = "a"
) -> dict[str, Any]:
    ports: dict[str, Any] = {} if platform.without_ports and n else {"http": {"port": 80, "protocol": "TCP"}}
    document: dict[str, Any] = a_body(
        SLUGS[n],
        image=image,
        replicas=replicas,
        cities=tuple(cities),
        anycast=n == 0 or platform.both_anycast,
        resources={"requests": {"cpu": "1", "memory": "1Gi"}},
        ports=ports,
    )["workload"]
    document.setdefault("metadata", {})["labels"] = {"label": label}
    if platform.has_machines and n == 0:
        box = document["spec"].pop("containers")["web"]
        document["spec"]["virtualMachines"] = {"web": box | {"image": f"{STACK.slug}/{image}"}}
        if platform.has_volumes:
            claim = {"slug": "data", "name": "data", "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
            document["spec"]["volumeClaimTemplates"] = [claim]
            document["spec"]["virtualMachines"]["web"]["volumeMounts"] = [{"slug": "data", "mountPath": "/data"}]
    return document


def box_of(document: dict[str, Any]) -> dict[str, Any]:
    """What its instances are made from: a container, or a virtual machine."""
    spec = document["spec"]
    return (spec.get("containers") or spec["virtualMachines"])["web"]  # type: ignore[no-any-return]


def made_of(document: dict[str, Any], identity: WorkloadId, platform: "Platform") -> Parsed:
    """The workload, with the images of its virtual machines, as the API finds them."""
    made = parsed(document, STACK, identity, platform.cities)
    images = {c.image: machine_image_of(c.image) for c in made.workload.containers if c.machine is not None}
    return with_images(made, images)


def declared(platform: "Platform", n: int) -> Declaration | None:
    found = platform.control.state.workloads.values()
    return next((d for d in found if d.workload.slug == SLUGS[n]), None)


def image(dice: Random, bad: float = 0.35) -> str:
    return dice.choice(BAD if dice.random() < bad else GOOD)


def deploys(platform: "Platform", dice: Random, n: int | None = None, chosen: str = "") -> None:
    """A workload, if it is not there."""
    n = dice.randrange(2) if n is None else n
    if declared(platform, n) is not None:
        return
    platform.identities += 1
    identity = WorkloadId(f"00000000-0000-4000-8000-{platform.identities:012}")
    cities = (
        platform.cities
        if n == 0
        else tuple(sorted(dice.sample(platform.cities, dice.randint(1, len(platform.cities)))))
    )
    document = body(
        platform, n, image=chosen or image(dice, 0.15), replicas=dice.choice((1, 1, 1, 2)), cities=list(cities)
    )
    made = made_of(document, identity, platform)
    platform.control.ask(f"deploy {SLUGS[n]} ({box_of(document)['image']})", create(made))


def updates(platform: "Platform", dice: Random) -> None:
    if dice.random() < 0.75:
        changes(platform, dice.choice((0, 0, 1)), "image", image(dice))
    else:
        changes(platform, dice.choice((0, 0, 1)), "label", dice.choice("abc"))


def scales(platform: "Platform", dice: Random) -> None:
    changes(platform, dice.choice((0, 0, 1)), "replicas", dice.choice((1, 2)))


def moves(platform: "Platform", dice: Random) -> None:
    cities = sorted(dice.sample(platform.cities, dice.randint(1, len(platform.cities))))
    changes(platform, dice.choice((0, 0, 1)), "cities", cities)


def changes(platform: "Platform", n: int, what: str, told: object) -> None:
    """Another document, where the workload is there."""
    current = declared(platform, n)
    if current is None:
        return
    document = copy.deepcopy(dict(current.document))
    (target,) = document["targets"].values()
    place = target["spec"]["deployments"]
    match what:
        case "image":
            kind = f"{STACK.slug}/" if "virtualMachines" in document["spec"] else ""
            box_of(document)["image"] = f"{kind}{told}"
        case "label":
            document["metadata"]["labels"]["label"] = told
        case "storage":
            for claim in document["spec"].get("volumeClaimTemplates") or ():
                claim["spec"]["resources"]["requests"]["storage"] = told
        case "target":
            document["targets"] = {told: target}
        case "replicas":
            place["minReplicas"] = told
        case "scale":
            place.pop("maxReplicas", None), place.pop("scaleSettings", None)
            if told is not None:
                metric = {"metric": "cpu", "averageUtilization": 50}
                place |= {"maxReplicas": told, "scaleSettings": {"metrics": [metric]}}
        case _:
            place["selectors"][0]["values"] = told
    made = made_of(document, current.id, platform)
    platform.control.ask(
        f"{SLUGS[n]}: {what} {told}", replace_with(current, made, by="a person"), confirmed=frozenset({current.id})
    )


def renames_a_target(platform: "Platform", dice: Random) -> None:
    """Which is another target: the instances of the old one go, and those of the new one come."""
    changes(platform, dice.choice((0, 1)), "target", dice.choice(("eu", "na")))


def rolls_back(platform: "Platform", dice: Random) -> None:
    n = dice.choice((0, 0, 1))
    if (current := declared(platform, n)) is not None:
        number = None if dice.random() < 0.6 else max(1, current.version - dice.randint(1, 3))
        platform.control.ask(
            f"{SLUGS[n]}: back to revision {number or 'before'}", rollouts.roll_back(current.id, number, by="a person")
        )


def deletes(platform: "Platform", dice: Random) -> None:
    deletes_one(platform, dice.choice((0, 1, 1, 1)))


def deletes_one(platform: "Platform", n: int) -> None:
    if (current := declared(platform, n)) is not None:
        platform.control.ask(f"delete {SLUGS[n]}", delete(current.id), confirmed=frozenset({current.id}))


def steers(platform: "Platform", dice: Random) -> None:
    n = dice.choice((0, 0, 1))
    if (current := declared(platform, n)) is not None:
        what = dice.choice(("pause", "resume", "abort"))
        asked = {"pause": rollouts.pause, "resume": rollouts.resume, "abort": rollouts.abort}[what](current.id, "")
        platform.control.ask(f"{SLUGS[n]}: {what}", asked)


def withholds(platform: "Platform", dice: Random) -> None:
    n = dice.choice((0, 0, 1))
    current = declared(platform, n)
    if current is None:
        return
    site = dice.choice(platform.control.state.network.pops)
    mode = dice.choice((Mode.WITHHOLD, Mode.WITHHOLD, Mode.ANNOUNCE))
    scope = Scope(mode=mode, prepend=dice.choice((0, 2)) if mode is Mode.ANNOUNCE else 0)
    rules = [
        ScopeRule(workload_id=current.id, pop=site.city, upstream=u.name, scope=scope)
        for u in dice.sample(site.upstreams, dice.randint(1, len(site.upstreams)))
    ]
    platform.control.ask(f"{SLUGS[n]}: {mode.value} at {site.city}", set_rules(current.id, rules))


def scopes_in_waves(platform: "Platform", dice: Random) -> None:
    """What `doctor` does: prepends somewhere, watched by vantages, which may land otherwise than predicted."""
    current = declared(platform, 0)
    if current is None or not platform.control.up:
        return
    held = platform.control.state.anycast.get(current.id)
    site = dice.choice(platform.control.state.network.pops)
    changes = tuple(ScopeChange(pop=site.city, upstream=u.name, scope=Scope(prepend=3)) for u in site.upstreams)
    baseline = platform.landings(held.address4) if held is not None and dice.random() < 0.8 else ()
    expected = tuple((look.vantage, (look.pop,)) for look in baseline if look.pop) if dice.random() < 0.5 else ()
    if expected and dice.random() < 0.4:  # a wrong prediction
        expected = ((expected[0][0], (dice.choice(platform.cities),)),)
    wave = ScopeWave(changes=changes, expected=expected)
    platform.identities += 1
    platform.control.ask(
        f"one: prepend at {site.city} in waves",
        rollouts.change_scopes(
            current.id,
            f"scopes-{platform.identities}",
            [wave],
            by="a person",
            strategy=Strategy(bake_s=2.0, deadline_s=15.0),
            baseline=baseline,
        ),
    )


def looks(platform: "Platform") -> None:
    """The vantages look for whom a rollout waits; now and then one of them does not."""
    control, world = platform.control, platform.world
    if not control.up:
        return
    for rollout in control.state.rollouts_to_look_for():
        held = control.state.anycast.get(rollout.workload_id)
        if held is None:
            continue
        seen: tuple[Landing, ...] = platform.landings(held.address4)
        if platform.vantages_blind or (rollout.kind is RolloutKind.SCOPES and world.chance(0.05)):
            continue
        control.ask(
            "what the vantages see",
            rollouts.saw(rollout.id, seen, began_at=control.clock(), baseline=wants_look(rollout) is True),
        )


def evicts(platform: "Platform", dice: Random) -> None:
    host = dice.choice(sorted(platform.hosts))
    back = host in platform.control.state.evicted
    platform.control.ask(f"{'readmit' if back else 'evict'} {host}", hosts.readmit(host) if back else hosts.evict(host))


def evicts_where_it_serves(platform: "Platform", dice: Random) -> None:
    """A host of London where something answers is given up; or the one that was is taken back."""
    back = sorted(platform.control.state.evicted)
    busy = sorted(host.name for host in platform.hosts.values() if host.pop == "LHR" and host.ready)
    if back or busy:
        platform.control.ask("evict", hosts.readmit(back[0]) if back else hosts.evict(busy[0]))


def begins_a_drain(platform: "Platform", dice: Random) -> None:
    """Of a PoP, a host, an upstream or an instance."""
    state = platform.control.state
    pop, machine = dice.choice(list(state.network.hosts()))
    lives = sorted((p.incarnation for p in state.incarnations.values()), key=lambda i: i.uid)
    what = dice.choice((pop.city, f"host:{machine.name}", f"{pop.city}/{machine.upstreams[0].name}", "instance"))
    if what == "instance":
        if not lives:
            return
        one = dice.choice(lives)
        aim = Aim(
            kind=DrainKind.INSTANCE,
            pop=one.pop,
            host=one.host,
            workload_id=one.workload_id,
            instance=one.name,
            uid=one.uid,
        )
    else:
        found = drains.site_of(state, what)
        assert found is not None
        aim = found
    platform.identities += 1
    asked = drains.begin(
        aim,
        f"drain-{platform.identities}",
        by="a person",
        until=None,
        deadline_s=dice.choice((4.0, 15.0)),
        calm_s=1.0,
    )
    platform.control.ask(f"drain {what}", asked)


def asks_for_all_at_once(platform: "Platform", dice: Random) -> None:
    """A drain, an update, a scale and a way back within some seconds, in any order: they must commute."""
    acts = [begins_a_drain, updates, scales, rolls_back]
    dice.shuffle(acts)
    for act in acts:
        later, own = dice.uniform(0.0, 6.0), Random(dice.getrandbits(32))
        platform.world.after(later, lambda act=act, own=own: act(platform, own))  # type: ignore[misc]


def ends_drains(platform: "Platform", dice: Random) -> None:
    for drain in list(platform.control.state.drains.values()):
        if drain.active:
            platform.control.ask(f"undrain {drain.target}", drains.undrain(drain.id))


def is_hasty(platform: "Platform", dice: Random) -> None:
    """Sets how careful rollouts are."""
    if (current := declared(platform, 0)) is not None:
        strategy = Strategy(bake_s=dice.choice((0.0, 2.0)), deadline_s=dice.choice((8.0, 20.0)), failing_s=3.0)
        platform.control.ask("one: another strategy", rollouts.set_strategy(current.id, strategy))


ACTS = (
    (8, updates),
    (4, scales),
    (3, moves),
    (1, renames_a_target),
    (4, rolls_back),
    (2, deletes),
    (3, deploys),
    (3, steers),
    (2, withholds),
    (2, scopes_in_waves),
    (1, evicts),
    (4, begins_a_drain),
    (2, ends_drains),
    (2, is_hasty),
)

WHERE_HOSTS_CARRY = ((8, asks_for_all_at_once),)
