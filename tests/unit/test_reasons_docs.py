"""docs/reasons.md: whole, and written from the reasons themselves."""

import re
from pathlib import Path

from anypop.cli import reasons_page, reference
from anypop.model.reasons import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text()


def test_the_page_is_the_one_that_the_reasons_write_today() -> None:
    """A new reason, or another sentence, shows as a difference here; the third line of the page says how to write it
    anew.
    """
    assert reasons_page.markdown() == PAGE


def test_every_reason_stands_in_the_page_once_with_its_sentence() -> None:
    """Whatever group of the enum it is in."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((reason.value, reason.says) for reason in Reason)


def test_the_page_sends_nobody_to_a_command_that_does_not_exist() -> None:
    """Each `anypop ...` in it begins with a command of today."""
    known = {name for name, _ in reference.commands()}
    named = re.findall(r"`(anypop [a-z ]+?)(?: -o json)?`", PAGE)
    assert named and set(named) <= known
