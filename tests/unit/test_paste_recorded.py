"""What real daemons printed about routes that were made for it: read whole, with the best and the reason that the maker
of the routes knows.
"""

import pytest

from tests.recorded.routes.judged import Verdict, judged, texts

TEXTS = texts()
# FRR prints a MED and a local preference of ten digits without a blank between: nobody can part them.
TOGETHER = {("frr-table-v4", "wide"), ("frr-table-v6", "wide"), ("frr-wide-v4", "wide"), ("frr-wide-v6", "wide")}


@pytest.mark.parametrize("name", TEXTS)
def test_a_recorded_text_is_read_as_its_routes_were_made(name: str) -> None:
    """Best and reason in every form; fields too, where the form shows them, and marked where it does not."""
    verdicts = list(judged(name, TEXTS[name]))
    assert len(verdicts) == 12
    wrong = [v for v in verdicts if v.wrong and (v.text, v.name) not in TOGETHER]
    assert all(v.read and v.best and v.reason for v in wrong), wrong
    assert all(v.marked for v in verdicts if v.wrong), wrong
    if not name.startswith("bird-") or "sessions" in name:
        assert not wrong


def test_two_numbers_that_run_together_are_not_read() -> None:
    """And as the best is among them, none is called so."""
    found: list[Verdict] = [v for name, _ in TOGETHER for v in judged(name, TEXTS[name]) if v.name == "wide"]
    assert len(found) == 4 and all(v.read and v.marked and not v.best for v in found)
