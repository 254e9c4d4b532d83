"""Sums that are kept up, of a month and of all time, are those of adding up everything anew, whatever has happened in
between; and asking again costs what has changed.
"""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.control.costs import Costs, figures, total, used_until
from anypop.control.kept_sums import KeptSums
from anypop.model.names import WorkloadId
from tests.counted import calls
from tests.metered import BOOK, DEAR, EUROS, SINCE, Place, shown

LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
ENDS = datetime(2023, 12, 1, tzinfo=UTC).timestamp()


class Kept(Place):
    """With sums that are kept up."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.ever = self.anew(), KeptSums(self.metering, lambda: self.now, by_pop=False)

    def anew(self) -> KeptSums:
        return KeptSums(self.metering, lambda: self.now)

    def told(self, costs: KeptSums, dearest: int = 0) -> Any:
        """Everything that is told, as figures."""
        found = costs.told(
            self.state, ["s0", "s1"], since=SINCE, ends=ENDS, fallback=BOOK, dearest=dearest
        )  # fmt: skip

        def shown(sums: Any) -> Costs:
            return figures(sums, until=found.until, ends=ENDS)

        return (
            found.count,
            shown(total(found.pops.values())),
            {pop: shown(sums) for pop, sums in found.pops.items()},
            [
                (one.workload_id, one.slug, {pop: shown(sums) for pop, sums in one.pops.items()})
                for one in found.workloads
            ],
        )

    def used(self) -> list[Any]:
        """By the sums that are kept since ever."""
        found = self.ever.told(self.state, ["s0", "s1"], since=0.0, ends=LATEST, fallback=BOOK)
        return shown(used_until(one, found.until) for one in found.workloads)


acts = st.one_of(
    st.tuples(
        st.just("begin"), st.integers(0, 3), st.sampled_from(["instance", "anycast", "volume"]),
        st.sampled_from(["ams", "lhr"]), st.sampled_from([1, 2, 400]),
    ),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(["instance", "anycast", "volume"])),
    st.tuples(st.just("wait"), st.integers(0, 10**12)), st.tuples(st.just("ask"), st.integers(0, 2)),
    st.tuples(st.just("book"), st.sampled_from([EUROS, DEAR])), st.tuples(st.just("back"), st.integers(1, 10**8)),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(acts, max_size=25))
def test_what_is_kept_up_is_what_is_added_up_anew(history: list[tuple[Any, ...]]) -> None:
    """Meters begin, end and change their size, prices and currencies change, the clock is set back, the month ends."""
    place = Kept()
    books = 0
    for what, *given_ in [*history, ("ask", 0)]:
        match what, given_:
            case "begin", [number, item, city, size]:
                place.change(begin=(place.meter(number, item, city, size),))
            case "end", [number, item]:
                place.change(
                    end=tuple(k for k in place.state.meters if k[0] == f"w{number}" and k[1] == item)
                )  # fmt: skip
            case "wait", [micros]:
                place.now += micros / 1e6
            case "back", [micros]:
                place.now -= micros / 1e6
            case "book", [text]:
                books += 1
                place.book(text, max(place.now, SINCE) + books * 1e-3)
            case "ask", [dearest] if place.now >= SINCE:
                assert place.told(place.kept, dearest) == place.told(place.anew(), dearest)
                assert place.used() == place.added_up(0.0, place.now)


def test_asking_again_costs_what_has_changed() -> None:
    """One of two hundred workloads ends: its rows alone are read, and nothing of the others is added up."""
    place = Kept()
    place.now = SINCE + 3600
    place.change(
        begin=tuple(place.meter(n, "instance", city, 1) for n in range(200) for city in ("ams", "lhr", "jfk", "lax"))
    )
    place.now += 60
    first = calls(lambda: place.told(place.kept, 3))
    place.change(end=((WorkloadId("w7"), "instance", "web-eu-ams-0"),))
    place.now += 60
    again = calls(lambda: place.told(place.kept, 3))
    assert again < first / 10
    assert place.told(place.kept) == place.told(place.anew())
