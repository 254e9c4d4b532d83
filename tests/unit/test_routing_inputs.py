"""Whatever is in a file: every reader answers with what it read or with `Invalid`, and never crashes."""

import contextlib
import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.errors import Invalid
from anypop.routing.bird_text import parse_routes, parse_sessions
from anypop.routing.catchment.observations import read_csv
from anypop.routing.dictionary_file import read_dictionary
from anypop.routing.internet.places import read_places
from anypop.routing.internet.relationships import provider_loops, read_relationships
from anypop.routing.internet.world import build_internet
from anypop.routing.measured import atlas, verfploeter
from tests.examples import examples

numbers = st.sampled_from(["1", "2", "3", "65536", "4294967296", "-1", "0", "x", "", "１", "1e3", "00"])
rows = st.lists(
    st.lists(numbers, min_size=1, max_size=5).map("|".join) | st.lists(numbers, max_size=5).map(",".join), max_size=6
)
texts = st.text(max_size=80) | rows.map("\n".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "prb_id", "result", "resultset", "answers", "RDATA", "abuf", "header", "from", "timestamp"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def survives(read: Callable[[], object]) -> None:
    with contextlib.suppress(Invalid):
        read()


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=60) | texts.map(str.encode), st.booleans())
def test_relationships(data: bytes, overrides: bool) -> None:
    """What is read can be built upon."""

    def read() -> None:
        links = read_relationships(data, "f", overrides=overrides)
        provider_loops(links)
        build_internet(links)

    survives(read)


@settings(max_examples=examples(100), deadline=None)
@given(texts)
def test_places_and_observations(text: str) -> None:
    """CSV of any shape."""
    survives(lambda: read_places(text, "f"))
    survives(lambda: read_csv(text, "f"))


@settings(max_examples=examples(100), deadline=None)
@given(st.sampled_from(["client_id,source_address,receive_time", "rx,addr,rx_time", "client_id"]), texts)
def test_catchments_measured_with_pings(heading: str, text: str) -> None:
    """Tables with the right heading and any rows."""
    table = f"{heading}\n{text}"
    survives(lambda: verfploeter.read(table, "f", identify=lambda _: "LHR", asn_of_address=lambda _: 1))


@settings(max_examples=examples(150), deadline=None)
@given(json_values | st.lists(json_values, max_size=3))
def test_atlas_results(value: object) -> None:
    """JSON of any shape, and its beginning."""
    text = json.dumps(value)
    survives(lambda: atlas.read(text, "f", identify=lambda _: None))
    survives(lambda: atlas.read(text[: len(text) // 2], "f", identify=lambda _: "LHR"))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "asn": json_values,
            "name": json_values,
            "defaults": json_values,
            "communities": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "community": st.sampled_from(["1:2", "1:<asn>", "<asn>:<asn>", "a:b", "1:2:3", "1"])
                        | json_values,
                        "action": st.fixed_dictionaries(
                            {
                                "kind": st.sampled_from(
                                    [
                                        "prepend",
                                        "no-export-to",
                                        "local-preference",
                                        "keep-in-region",
                                        "med",
                                        "blackhole",
                                    ]
                                )
                            },
                            optional=dict.fromkeys(
                                ("neighbour", "region", "outside_region", "count", "value", "relation"), json_values
                            ),
                        ),
                        "date": json_values,
                        "meaning": json_values,
                    },
                ),
                max_size=3,
            )
            | json_values,
        },
    )
    | json_values
)
def test_dictionaries(value: object) -> None:
    """JSON is YAML: fields of any kind in any place."""
    survives(lambda: read_dictionary(json.dumps(value), "f"))


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=200))
def test_what_a_router_prints(text: str) -> None:
    """Text that BIRD never printed has no routes, and is no error."""
    parse_routes(text)
    parse_sessions(text)
    parse_routes(f"10.0.0.0/8 unicast [a {text} from {text}] * (100) [i]\n\tBGP.as_path: {text}\n\tBGP.med: {text}\n")
