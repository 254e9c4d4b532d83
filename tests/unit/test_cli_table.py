"""Tables in narrow places: nothing that a decision hangs on is hidden, and no text is cut."""

import pytest

from anypop.cli.screen import Format, Screen, in_yaml
from anypop.cli.table import Column, Table, lines

TABLE = Table(
    columns=[
        Column(head="INSTANCE"),
        Column(head="PHASE"),
        Column(head="PRIVATE", drop=1),
        Column(head="WHY", prose=True, maybe=True),
    ],
    rows=[
        ["a-very-long-workload-name-europe-lhr-0", "STARTING", "10.0.0.1", "its image cannot be pulled: no such host"]
    ],
)


def shown(table: Table, width: int | None) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines(table, width)]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 90])
def test_every_word_of_what_stays_is_there_in_any_width(width: int) -> None:
    """Wrapped, within the width; WHY stays, PRIVATE goes first."""
    found = shown(TABLE, width)
    assert max(map(len, found)) <= max(width, 30)
    text = "".join(found).replace(" ", "")
    assert "…" not in text and "STARTING" in text
    whole = shown(TABLE, None)
    assert len(whole) == 2 and "10.0.0.1" in whole[1]


def test_a_sentence_is_wrapped_before_a_column_goes() -> None:
    assert "10.0.0.1" in shown(TABLE, 90)[1]
    assert "10.0.0.1" not in "".join(shown(TABLE, 80))
    assert shown(TABLE, 80)[1:] == [
        "a-very-long-workload-name-europe-lhr-0  STARTING  its image cannot be pulled: no",
        "                                                  such host",
    ]


def test_no_color_means_no_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour, and nothing bold: no escape at all, even on a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for value, escapes in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        console = Screen(Format.TABLE).console("stdout")
        with console.capture() as captured:
            console.print("x", style="bold red")
        assert ("\x1b" in captured.get()) is escapes


def test_yaml_shows_no_text_that_steers_a_terminal() -> None:
    assert "München" in in_yaml({"city": "München"})
    assert "\u202e" not in in_yaml({"city": "a\u202eb"}) and "\x1b" not in in_yaml({"city": "a\x1bb"})
