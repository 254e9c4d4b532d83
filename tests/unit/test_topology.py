"""Reading topologies."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.lab.address import network_of, plan
from anypop.lab.generate import generate
from anypop.lab.topology import LinkKind
from anypop.lab.topology_read import load
from anypop.model.backbone import BackboneRules
from anypop.model.errors import Invalid

ARTICLE = (Path(__file__).parents[2] / "topologies" / "article.yaml").read_text()


def test_the_article_has_its_networks_and_our_four_pops() -> None:
    """AS3356 is in London, New York and Los Angeles, AS209 buys from it in the USA, and our PoPs are AMS, LHR, JFK
    and LAX.
    """
    topology = load(ARTICLE)
    lumen = topology.find(3356)
    assert lumen is not None
    assert lumen.cities == ("LHR", "JFK", "LAX")
    assert {(x.kind, x.a_city) for x in topology.links if (x.a, x.b) == (209, 3356)} == {
        (LinkKind.CUSTOMER_PROVIDER, "JFK"),
        (LinkKind.CUSTOMER_PROVIDER, "LAX"),
    }
    assert topology.own.asn == 33438
    assert [pop.city for pop in topology.own.pops] == ["AMS", "LHR", "JFK", "LAX"]


def test_a_link_is_as_long_as_its_cities_are_apart_unless_the_text_says_otherwise() -> None:
    """London - New York is 5540 km of great circle; a stated length wins."""
    text = ARTICLE.replace("internal: [LHR-JFK, JFK-LAX]", "internal: [LHR-JFK, {between: JFK-LAX, km: 4800}]", 1)
    lumen = load(text).find(3356)
    assert lumen is not None
    assert [round(link.km) for link in lumen.internal] == [5540, 4800]


def test_a_link_takes_packets_of_1500_bytes_unless_the_text_says_less() -> None:
    """Inside an AS, between two, at a vantage and at an upstream; out of bounds it is told with its path."""
    text = ARTICLE.replace("internal: [LHR-JFK, JFK-LAX]", "internal: [LHR-JFK, {between: JFK-LAX, mtu: 1450}]", 1)
    text = text.replace("asn: 64497, km: 300}", "asn: 64497, km: 300, mtu: 1300}")
    text = text.replace("[{name: arelion, asn: 1299}]", "[{name: arelion, asn: 1299, mtu: 1280}]", 1)
    topology = load(text)
    lumen = topology.find(3356)
    assert lumen is not None
    assert [link.mtu for link in lumen.internal] == [1500, 1450]
    assert {(x.a, x.b): x.mtu for x in topology.links if x.mtu < 1500} == {(64496, 1299): 1400}
    assert [v.mtu for v in topology.vantages] == [1500, 1300, 1500, 1500, 1500]
    assert [u.mtu for pop in topology.own.pops for u in pop.upstreams] == [1280, 1500, 1500, 1500, 1500, 1500]
    for wrong in ("1279", "9000", "big", "true"):
        with pytest.raises(Invalid) as told:
            load(ARTICLE.replace("mtu: 1400", f"mtu: {wrong}", 1))
        assert [problem.path for problem in told.value.problems] == ["links[7].at[0].mtu"]


def test_hosts_carry_for_each_other_where_the_text_says_so() -> None:
    """Nothing, `{}` for the settings that everybody has, or some of them; what no tunnel takes is told, all at once."""
    plain = load(ARTICLE.replace("  backbone: {}\n", ""))
    assert plain.own.backbone is None
    assert network_of(plan(plain, "t")).backbone is None
    text = ARTICLE.replace("  backbone: {}\n", "").replace("  asn: 33438\n", "  asn: 33438\n  backbone: WORDS\n")
    assert load(text.replace("WORDS", "{}")).own.backbone == BackboneRules()
    some = BackboneRules(mtu=1400, bfd_interval_ms=10)
    topology = load(text.replace("WORDS", "{mtu: 1400, bfd_interval_ms: 10}"))
    assert network_of(plan(topology, "t")).backbone == some
    with pytest.raises(Invalid) as told:
        load(text.replace("WORDS", "{port: 0, mtu: 1465, bfd_interval_ms: true, bfd_multiplier: 1, colour: blue}"))
    assert {p.path for p in told.value.problems} == {
        f"anypop.backbone.{name}" for name in ("port", "mtu", "bfd_interval_ms", "bfd_multiplier", "colour")
    }
    with pytest.raises(Invalid, match="must be a mapping"):
        load(text.replace("WORDS", "true"))


def test_an_as_whose_backbone_was_not_drawn_joins_every_pair_of_its_cities() -> None:
    """Three cities without `internal` have three internal links."""
    lumen = load(ARTICLE.replace(", internal: [LHR-JFK, JFK-LAX]}", "}", 1)).find(3356)
    assert lumen is not None
    assert len(lumen.internal) == 3


def test_a_file_without_a_name_is_named_by_who_read_it() -> None:
    """`load(name=...)` is the name where the text has none."""
    assert load(ARTICLE.replace("name: article", ""), name="x.yaml").name == "x.yaml"


@settings(max_examples=12, deadline=None)
@given(ases=st.integers(12, 120), pops=st.integers(1, 6), seed=st.integers(0, 1 << 30))
def test_every_generated_internet_is_right_by_the_same_schema(ases: int, pops: int, seed: int) -> None:
    """Any numbers and seed give a topology without a problem, with as many networks and PoPs as asked, and the same
    text each time.
    """
    text = generate(ases=ases, pops=pops, seed=seed)
    topology = load(text)
    assert (len(topology.ases), len(topology.own.pops)) == (ases, pops)
    assert topology.vantages
    assert generate(ases=ases, pops=pops, seed=seed) == text


def test_another_seed_gives_another_internet() -> None:
    """The seed matters."""
    assert generate(seed=1).partition("ases:")[2] != generate(seed=2).partition("ases:")[2]


def test_numbers_that_no_internet_can_have_are_refused_together() -> None:
    """Both wrong numbers are told at once."""
    with pytest.raises(Invalid) as told:
        generate(ases=2, pops=0)
    assert [problem.path for problem in told.value.problems] == ["ases", "pops"]
