"""How much is too much: buckets that fill, sign-ins that are slowed, and no memory of who is quiet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.control import rates
from anypop.control.rates import BURST_S, MOST_REMEMBERED, Buckets, SignIns, TooMany


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(pauses=st.lists(st.floats(0, 2), min_size=1, max_size=300), rate=st.integers(1, 50))
def test_in_any_time_no_more_than_a_burst_and_the_rate_get_in(pauses: list[float], rate: int) -> None:
    """Whatever the rhythm; and who waits as long as told gets in."""
    clock = Clock()
    buckets = Buckets(clock)
    inside = 0
    for pause in pauses:
        clock.now += pause
        if wait := buckets.take("a", rate):
            assert wait <= 1 / rate + 1e-9
            clock.now += wait + 1e-6
            assert not buckets.take("a", rate)
        inside += 1
    assert inside <= clock.now * rate + max(1, rate * BURST_S) + 1


def test_credentials_do_not_share_a_bucket_and_memory_has_an_end() -> None:
    """One that floods narrows nobody else; a million names are not remembered."""
    clock = Clock()
    buckets = Buckets(clock)
    while not buckets.take("flood", 5):
        pass
    assert not buckets.take("other", 5)
    for number in range(MOST_REMEMBERED + 500):
        buckets.take(f"n{number}", 5)
    assert len(buckets) == MOST_REMEMBERED


def wait_of(sign_ins: SignIns, source: str, client: str) -> float:
    try:
        sign_ins.check(source, client)
    except TooMany as error:
        return error.retry_s
    return 0.0


def test_an_address_that_fails_is_slower_and_slower_then_refused_for_a_while() -> None:
    """Three are free, then the wait doubles to a quarter of an hour; the secret's owner elsewhere never waits."""
    clock = Clock()
    sign_ins = SignIns(clock)
    waits = []
    for _ in range(16):
        clock.now += wait_of(sign_ins, "192.0.2.1", "client")
        waits.append(sign_ins.failed("192.0.2.1", "client"))
        assert not wait_of(sign_ins, "198.51.100.1", "client")
    assert waits[:7] == [0, 0, 0, 1, 2, 4, 8] and waits[-1] == 900 and waits == sorted(waits)
    assert wait_of(sign_ins, "192.0.2.1", "client") == 900
    assert not wait_of(sign_ins, "192.0.2.1", "another client"), "nor its own other credentials, until it fails often"
    clock.now += 900
    assert not wait_of(sign_ins, "192.0.2.1", "client"), "and it is no sentence for life"
    sign_ins.succeeded("192.0.2.1", "client")
    assert sign_ins.failed("192.0.2.1", "client") == 0


def test_guessing_names_is_slowed_too_and_memory_has_an_end() -> None:
    """Unknown clients from one address; and from more addresses than anybody has."""
    clock = Clock()
    sign_ins = SignIns(clock)
    for number in range(30):
        sign_ins.failed("192.0.2.1", f"guess {number}")
    assert wait_of(sign_ins, "192.0.2.1", "yet another") > 60
    for number in range(2 * MOST_REMEMBERED):
        sign_ins.failed(f"source {number}", "client")
    assert len(sign_ins) == MOST_REMEMBERED
    assert not wait_of(sign_ins, "198.51.100.1", "client")


@pytest.mark.parametrize("name", ["_OF_BOTH", "_OF_SOURCE", "_OF_CLIENT"])
def test_no_wait_is_longer_than_a_quarter_of_an_hour(name: str) -> None:
    """Of none of the three."""
    assert getattr(rates, name).longest_s <= 900
