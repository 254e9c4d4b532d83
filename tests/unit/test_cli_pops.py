"""`anypop pops`: what a person sees of a PoP that is not well."""

from typing import Any

from anypop.cli.announcements import shared_lines
from anypop.cli.listings import pops_table
from anypop.model.reasons import Reason

FINE: dict[str, Any] = {
    "pop": "LHR", "city": "London", "trusted": True, "reason": "running", "says": Reason.RUNNING.says, "generation": 3,
    "instances": {"total": 2, "healthy": 2}, "sessions": [{"state": "established"}],
    "prefixes": [{"prefix": "192.0.2.0/24", "reason": "announced", "says": Reason.ANNOUNCED.says,
    "wants_withdraw": False}],
}  # fmt: skip


def why(**changes: object) -> str:
    return str(pops_table([FINE | changes]).rows[0][-1])


def test_a_pop_that_is_well_has_nothing_to_explain() -> None:
    """No reason stands beside it."""
    assert why() == "-"


def test_a_frozen_withdrawal_is_seen_where_one_looks_first() -> None:
    """A sick PoP says so, and what the governor keeps announced, with the reason, both families together."""
    held = [
        {"prefix": p, "reason": "suspect-monitor", "says": Reason.SUSPECT_MONITOR.says, "wants_withdraw": True}
        for p in ("192.0.2.0/24", "2001:db8::/48")
    ]
    sick = {"reason": "no-healthy-instance", "says": Reason.NO_HEALTHY_INSTANCE.says}
    assert why(prefixes=held, **sick) == (
        "no instance in this PoP is healthy; 192.0.2.0/24, 2001:db8::/48 kept announced: "
        "more than half of the PoPs turned bad at once, so the monitor is suspect"
    )


def test_a_pop_without_sessions_says_so() -> None:
    """Nobody hears it, however healthy its instances are."""
    assert why(reason="session-down", says=Reason.SESSION_DOWN.says) == "the BGP session is down"


def test_hosts_of_a_pop_stand_below_it_and_tell_their_own_trouble() -> None:
    """A PoP of two hosts is three lines: the PoP as a whole, and each host with what is wrong with it. An only host
    has no line.
    """
    lost = {"trusted": False, "reason": "no-report", "says": Reason.NO_REPORT.says}
    hosts = [{**FINE, "host": "LHR-1"}, {**FINE, "host": "LHR-2", **lost}]
    rows = pops_table([{**FINE, **lost, "hosts": hosts}, {**FINE, "pop": "JFK", "hosts": hosts[:1]}]).rows
    assert [row[0] for row in rows] == ["LHR", "  LHR-1", "  LHR-2", "JFK"]
    assert [row[-1] for row in rows] == ["-", "-", Reason.NO_REPORT.says, "-"]


def test_a_session_that_bird_refused_or_that_flaps_is_told_with_its_reason() -> None:
    """One that is merely down is counted beside it."""
    sessions = [
        {"upstream": "a", "family": 4, "state": "refused", "error": "hold time must be at least 3"},
        {"upstream": "b", "family": 6, "state": "established", "rests": True, "error": "flaps: rests"},
        {"upstream": "c", "family": 4, "state": "active", "error": "connection refused"},
    ]
    assert why(sessions=sessions) == "a IPv4: hold time must be at least 3; b IPv6: flaps: rests"


def test_prefixes_that_accounts_share_are_told_once_below_the_table() -> None:
    """To the operator with the names, to a tenant without."""
    one = {
        "prefix": "198.18.0.0/24",
        "workloads": [
            {"account": "a", "stack": "one", "workload": "web"},
            {"account": "b", "stack": "two", "workload": "dns"},
        ],
    }
    tail = "how it is announced is the operator's to change"
    assert shared_lines({"shared": [one]}) == [
        f"198.18.0.0/24 has addresses of several accounts (one/web of a, two/dns of b): {tail}"
    ]
    assert shared_lines({"shared": [{"prefix": "198.18.0.0/24"}]}) == [
        f"198.18.0.0/24 has addresses of another account too: {tail}"
    ]
    assert shared_lines({}) == []
