"""Which images of a host may go: never one that is needed, never one that somebody else brought."""

from dataclasses import replace

from anypop.agent.decide.converge import converge
from anypop.agent.decide.images import EMPTY, ImageBook, dropped, fetched, images_of, turned, unneeded
from anypop.agent.decide.steps import DropImage
from anypop.model.codec import from_json, to_json
from anypop.model.order import InstanceOrder, Order
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
        wanted = order(n, revision(n), removed=(revision(n - 1),) if n > 1 else ())
        host.obey(wanted)
        book = after(wanted, book=book)
        host.memory = replace(host.memory, book=book)
        settle(host)
        book = host.memory.book
    assert [s.image for s in host.applied if isinstance(s, DropImage)] == [*images(1)]
    assert images(1).isdisjoint(host.memory.images)
    assert images(2, 3) <= set(host.memory.images)
    assert not [s for s in converge(host.facts(), host.now) if isinstance(s, DropImage)]
