"""Orders as differences: what they lead to is the order itself, byte for byte and digest for digest."""

import json
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model import codec
from anypop.model.announce import Announcement, Scope
from anypop.model.backbone import Backbone, BackboneRules
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, InstanceName, StackId, WorkloadId
from anypop.model.order import Grant, InstanceOrder, Order, Removal
from anypop.model.order_delta import Digests, OrderDelta, apply, delta, written
from anypop.model.order_read import INSTANCE, OrderReader
from anypop.model.order_text import OrderWriter, address
from anypop.model.reasons import Reason
from anypop.model.stack_names import NamedInstance, NamedWorkload
from anypop.model.workload import Container
from tests.agent_world import instance, order
from tests.examples import examples

texts = st.text(max_size=6)
prefix = order(1).external4


def an_instance(n: int, life: int, text: str, revision: int) -> InstanceOrder:
    made = instance(n, workload=n % 2, life=life, link=n + 8 * life)
    first = made.payload.containers[0]
    changed = replace(first, env=(("TEXT", text),))
    return replace(made, uid=f"uid-{n}-{life}", revision=revision, payload=replace(made.payload, containers=(changed,)))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    instances = draw(
        st.lists(
            st.builds(an_instance, st.integers(0, 5), st.integers(0, 2), texts, st.integers(1, 3)),
            max_size=6,
            unique_by=lambda i: i.uid,
        )
    )
    removed = tuple(
        Removal(name=i.name, uid=i.uid, reason=Reason.SCALED_DOWN, detail=draw(texts))
        for i in instances[: draw(st.integers(0, 1))]
    )
    gates = tuple(draw(st.lists(st.ip_addresses(), max_size=2)))
    told = tuple(
        Announcement(prefix=prefix, upstream=name, scope=Scope(), gates=gates)
        for name in draw(st.lists(texts, max_size=2))
    )
    backbone = Backbone(
        rules=BackboneRules(port=draw(st.integers(1, 2))), address=IPv4Address("192.0.2.1"), carried=(prefix,)
    )
    names = tuple(
        NamedWorkload(
            id=WorkloadId(f"w{n}"), stack_id=StackId("s"), stack="fun", slug=f"web{n}",
            instances=(
                NamedInstance(
                    name=InstanceName(draw(texts)), pop=CityCode("LHR"), addresses=gates, inside=gates[:1],
                ),
            ),
        )
        for n in sorted(draw(st.sets(st.integers(0, 3))))
    )  # fmt: skip
    grants = (Grant(prefix=prefix, allowed=True, reason=Reason.GRANTED),) if draw(st.booleans()) else ()
    return replace(
        order(draw(st.integers(1, 9))),
        instances=tuple(instances),
        removed=removed,
        announcements=told,
        grants=grants,
        names=names,
        asn=draw(st.integers(1, 2)),
        backbone=backbone if draw(st.booleans()) else None,
    )


@settings(max_examples=examples(300), deadline=None)
@given(orders(), orders())
def test_the_difference_leads_to_the_new_order(before: Order, after: Order) -> None:
    """`apply(before, delta(before, after)) == after`, also when both went through JSON."""
    change = delta(before, after)
    assert apply(before, change) == after
    sent = codec.from_json(OrderDelta, codec.to_json(change))
    kept = codec.from_json(Order, codec.to_json(before))
    assert apply(kept, sent) == after
    assert Digests().of(apply(kept, sent)) == Digests().of(after)


@settings(max_examples=examples(100), deadline=None)
@given(orders(), orders())
def test_digests_are_the_same_for_equal_orders_alone(one: Order, two: Order) -> None:
    """Also from one that has seen other orders before, and from JSON."""
    digests = Digests()
    digests.of(two)
    assert digests.of(one) == Digests().of(codec.from_json(Order, codec.to_json(one)))
    assert (digests.of(one) == Digests().of(two)) == (one == two)


def test_what_did_not_change_is_not_told() -> None:
    """One instance of a hundred is new: only that one is in the difference, and nothing of the rest of the order."""
    many = tuple(an_instance(n, 0, "", 1) for n in range(100))
    before = replace(order(1), instances=many)
    after = replace(before, generation=2, instances=(*many[:50], an_instance(50, 1, "", 2), *many[51:]))
    change = delta(before, after)
    assert [i.uid for i in change.instances] == ["uid-50-1"]
    assert (change.places, change.left) == ((50,), ("uid-50-0",))
    assert (change.removed, change.announcements, change.grants, change.frame) == (None, None, None, None)


def test_a_difference_from_another_order_is_refused() -> None:
    before, after = order(1), order(3)
    change = delta(before, after)
    with pytest.raises(ValueError, match="does not fit"):
        apply(replace(before, generation=2), change)


@settings(max_examples=examples(200), deadline=None)
@given(orders())
def test_an_order_is_written_as_the_codec_writes_it(given_order: Order) -> None:
    """Byte for byte, whatever stands in its texts."""
    assert OrderWriter().order(given_order).encode() == codec.to_json(given_order)


@settings(max_examples=examples(200), deadline=None)
@given(orders(), orders(), orders())
def test_a_difference_is_written_as_the_codec_writes_it(before: Order, after: Order, other: Order) -> None:
    """Also by a writer that has written others."""
    writer = OrderWriter()
    writer.order(other)
    for change in (delta(before, after), replace(delta(after, before), digest="0")):
        assert written(change, writer).encode() == codec.to_json(change)


@settings(max_examples=examples(200), deadline=None)
@given(orders(), orders())
def test_what_was_written_is_read_as_the_codec_reads_it(before: Order, after: Order) -> None:
    """By one reader for both; also what another version wrote, without a field or with one more."""
    assert {f.name for f in fields(InstanceOrder)} == INSTANCE  # a new field has to be read there too
    reader = OrderReader()
    for one in (before, after, before):
        assert reader.order(OrderWriter().order(one)) == one
    change = delta(before, after)
    assert reader.change(written(change, OrderWriter())) == change
    data = codec.to_data(before)
    for instance_data in data["instances"]:
        del instance_data["template"]
        instance_data["later"] = 1
    assert reader.order(json.dumps(data)) == codec.from_json(Order, json.dumps(data))


def test_the_reader_gives_what_instances_share_once_and_opens_each_secret() -> None:
    """Of equal payloads of a workload one is kept; another workload's, equal or not, is opened by its own name."""
    first = instance(0, containers=(Container(name="web", image="i", secrets=(("TOKEN", "sealed"),)),))
    same, other = (
        replace(first, uid=uid, workload_id=WorkloadId(w)) for uid, w in (("b", first.workload_id), ("c", "x"))
    )
    text = OrderWriter().order(replace(order(1), instances=(first, same, other)))
    read = OrderReader(lambda workload, secret: f"{workload} {secret}").order(text).instances
    assert [i.containers[0].secrets for i in read] == [
        (("TOKEN", f"{w} sealed"),) for w in (first.workload_id,) * 2 + ("x",)
    ]
    assert read[0].payload is read[1].payload
    assert read[0].anycast[0] is read[2].anycast[0]


@pytest.mark.parametrize("wrong", ["192.0.2.300", "", "fd00::zz"])
def test_what_is_no_address_is_refused_in_words(wrong: str) -> None:
    data = codec.to_data(replace(order(1), instances=(instance(0),)))
    data["instances"][0]["links"][0]["addresses"][0]["private"] = wrong
    with pytest.raises(Invalid, match="private"):
        OrderReader().order(json.dumps(data))


@pytest.mark.parametrize(
    "text",
    [
        "::",
        "::1",
        "fd00::1",
        "::ffff:192.0.2.1",
        "2001:db8:0:1::",
        "1:0:0:2::3",
        "1:0:0:2:3:0:0:4",
        "::c000:201",
        "1:0:2:3:4:5:6:7",
    ],
)
def test_an_address_is_written_as_the_standard_library_does(text: str) -> None:
    assert address(IPv6Address(text)) == str(IPv6Address(text))


@settings(max_examples=examples(300), deadline=None)
@given(st.ip_addresses())
def test_every_address_is_written_as_the_standard_library_does(given_address: IPv4Address | IPv6Address) -> None:
    assert address(given_address) == str(given_address)
