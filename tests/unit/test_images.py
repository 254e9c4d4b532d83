"""Which images of a host may go: never one that is needed, never one that somebody else brought."""

from dataclasses import replace

from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.images import EMPTY, ImageBook, dropped, fetched, images_of, may_use, proved, turned, unneeded
from anypop.agent.decide.steps import DropImage, PullImage
from anypop.agent.decide.turn import turn_of
from anypop.model.codec import from_json, to_json
from anypop.model.confinement import InstanceRules
from anypop.model.names import StackId
from anypop.model.order import InstanceOrder, Order
from anypop.model.surroundings import Login, Surroundings
from tests.agent_world import FakeHost, instance, order, settle, web


def revision(number: int, n: int = 0, workload: int = 0) -> InstanceOrder:
    """Instance `n` with the image of a revision."""
    one = instance(n, workload=workload, containers=(web(f"registry.example/w{workload}:{number}"),))
    return replace(one, uid=f"{number}{n}{workload}" + "0" * 30, revision=number)


def images(*numbers: int, workload: int = 0) -> set[str]:
    return {f"registry.example/w{workload}:{number}" for number in numbers}


def after(*orders: Order, book: ImageBook = EMPTY) -> ImageBook:
    for one in orders:
        book = fetched(book, {image for i in one.instances for image in images_of(i)})
        book = turned(book, one, ())
    return book


def test_the_revision_before_this_one_keeps_its_image() -> None:
    """Back and forth between two is free; a third lets the oldest go."""
    one, two, three = (order(n, revision(n)) for n in (1, 2, 3))
    assert unneeded(after(one, two), two.instances, ()) == []
    assert unneeded(after(one, two, one, two, one), one.instances, ()) == []
    assert set(unneeded(after(one, two, three), three.instances, ())) == images(1)


def test_what_runs_or_drains_keeps_its_image() -> None:
    """An incarnation on its way out, a container that is there or about to be made again."""
    orders = [order(n, revision(n)) for n in (1, 2, 3, 4)]
    book, now = after(*orders), orders[-1].instances
    assert set(unneeded(book, now, ())) == images(1, 2)
    assert set(unneeded(book, (*now, revision(1)), ())) == images(2)
    book = fetched(book, {"sha256-of-one-that-lost-its-name"})
    assert "sha256-of-one-that-lost-its-name" in unneeded(book, now, ())
    assert set(unneeded(book, now, {"sha256-of-one-that-lost-its-name"})) == images(1, 2)


def test_a_workload_that_left_the_host_takes_its_images_along() -> None:
    """Once its last instance is gone; one that drains still counts as being here."""
    both = order(1, revision(1), revision(1, n=1, workload=1))
    left = order(2, revision(1, n=1, workload=1))
    book = after(both)
    draining = turned(book, left, [revision(1)])
    assert unneeded(draining, (*left.instances, revision(1)), ()) == []
    assert set(unneeded(turned(draining, left, ()), left.instances, ())) == images(1)
    assert set(unneeded(draining, left.instances, ())) == images(1), "also before the next order"


def test_an_image_that_nobody_here_has_fetched_is_never_named() -> None:
    """The operator's own, or one that an older version fetched."""
    book = turned(turned(EMPTY, order(1, revision(1)), ()), order(2, revision(2)), ())
    assert unneeded(book, (), ()) == []
    assert dropped(fetched(EMPTY, {"a", "b"}), "a").fetched == {"b"}
    assert from_json(ImageBook, to_json(after(order(1, revision(1))))) == after(order(1, revision(1)))


def test_the_host_drops_what_may_go_and_fetches_it_anew_when_it_is_asked_for() -> None:
    """As steps: only after its incarnation is gone, and the image is known to be away."""
    host = FakeHost()
    book = EMPTY
    for n in (1, 2, 3):
        # each revision replaces the one before in its slot
        gone = (revision(n - 1),) if n > 1 else ()
        wanted = replace(order(n, revision(n), removed=gone), rules=InstanceRules(images_kept_s=0))
        host.obey(wanted)
        book = after(wanted, book=book)
        host.memory = replace(host.memory, book=book)
        settle(host)
        book = host.memory.book
    assert [s.image for s in host.applied if isinstance(s, DropImage)] == [*images(1)]
    assert images(1).isdisjoint(host.memory.images)
    assert images(2, 3) <= set(host.memory.images)
    assert not [s for s in converge(host.facts(), host.now) if isinstance(s, DropImage)]


def dropped_by(host: FakeHost, *, short: bool = False) -> list[str]:
    """What a turn of this host takes away now."""
    facts = host.facts()
    turn = turn_of(facts.order, replace(facts.observed, disk_is_short=short), host.now)
    host.memory = turn.memory
    return [step.image for step in turn.steps if isinstance(step, DropImage)]


def test_an_image_stays_a_while_after_its_last_instance() -> None:
    """So that a redeploy finds it; whoever needs it meanwhile begins the time anew. It goes by the clock alone."""
    host = FakeHost()
    host.obey(order(1, instance(9)))
    settle(host)
    image = "registry.example/w0:1"
    host.memory = replace(host.memory, book=fetched(host.memory.book, {image}))
    assert dropped_by(host) == []
    began = host.now
    due = next_due(host.facts(), host.now)
    assert due is not None and due <= began + 600
    host.now = began + 599
    assert dropped_by(host) == []
    facts = host.facts()
    needs = replace(facts.order, generation=2, instances=(*facts.order.instances, revision(1)))
    host.memory = turn_of(needs, facts.observed, host.now).memory
    assert host.memory.idle_images == {}
    host.now = began + 700
    assert dropped_by(host) == []
    host.now = began + 1299
    assert dropped_by(host) == []
    host.now = began + 1300
    assert dropped_by(host) == [image]


def test_where_the_disk_is_nearly_full_an_image_that_nobody_needs_goes_at_once() -> None:
    """Room counts for more than the time of the next pull."""
    host = FakeHost()
    host.obey(order(1, instance(9)))
    settle(host)
    host.memory = replace(host.memory, book=fetched(host.memory.book, {"registry.example/w0:1"}))
    assert dropped_by(host) == []
    assert dropped_by(host, short=True) == ["registry.example/w0:1"]


LOGIN = Login(server="registry.example/team", username="me", password="hush")
GUARDED = "registry.example/team/web:1"


def of_stack(stack: str, n: int, *, login: Login | None = LOGIN, image: str = GUARDED) -> InstanceOrder:
    """An instance of a stack that has a password for the image, or none."""
    one = instance(n, containers=(web(image),))
    around = Surroundings(logins=(login,) if login is not None else ())
    return replace(one, stack_id=StackId(stack), uid=f"{n}" * 32, payload=replace(one.payload, around=around))


def pulls(host: FakeHost, *instances: InstanceOrder) -> list[PullImage]:
    """What is pulled for them, were it ordered now and nothing of them there."""
    wanted = order(99, *instances)
    return [s for s in converge(Facts(wanted, host.facts().observed), host.now) if isinstance(s, PullImage)]


def test_nobody_gets_an_image_because_somebody_else_could_pull_it() -> None:
    """A stack that has a password proves it once, also where the image is here; who has none asks the registry as
    nobody; another tag or digest of the repository is no way round. Each failure rests alone.
    """
    host = FakeHost()
    host.obey(order(1, instance(9)))
    settle(host)
    (first,) = pulls(host, of_stack("a", 1))
    assert (first.anew, first.whose, first.login) == (True, "a", LOGIN)
    host.apply(first)
    assert pulls(host, of_stack("a", 1)) == []
    other, nobody = pulls(host, of_stack("b", 2), of_stack("c", 3, login=None))
    assert (other.anew, other.whose, nobody.anew, nobody.login) == (True, "b", True, None)
    assert len({first.lane, other.lane, nobody.lane}) == 3
    (digest,) = pulls(host, of_stack("c", 3, login=None, image=f"{GUARDED.rpartition(':')[0]}@sha256:{'0' * 64}"))
    assert digest.anew
    host.apply(nobody)  # the registry gave it to nobody in particular: it is everybody's, and "b" is still asked
    assert [p.whose for p in pulls(host, of_stack("b", 2), of_stack("c", 3, login=None))] == ["b"]
    assert not [p for p in pulls(host, of_stack("c", 3, login=None, image="registry.example/other:1")) if p.anew]


def test_what_was_proved_is_kept_and_goes_with_the_image() -> None:
    """Over an agent's death, and until the last image of the repository is gone."""
    book = proved(fetched(EMPTY, {GUARDED, f"{GUARDED[:-1]}2"}), GUARDED, "a")
    assert from_json(ImageBook, to_json(book)) == book
    assert may_use(book, GUARDED, "a") and not may_use(book, GUARDED, "b") and not may_use(book, GUARDED, "")
    assert not may_use(dropped(book, GUARDED), f"{GUARDED[:-1]}2", "")
    assert dropped(dropped(book, GUARDED), f"{GUARDED[:-1]}2").proved == {}
    assert may_use(EMPTY, GUARDED, "") and proved(EMPTY, GUARDED, "") is EMPTY
