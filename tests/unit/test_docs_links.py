"""Links between the documents: a file that one of them names is there, and each decision is listed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Relative to the page that has it."""
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_every_decision_is_listed_and_has_the_same_headings() -> None:
    """Context, choice, figures, consequences, and what would change our mind."""
    folder = ROOT / "docs" / "decisions"
    pages = {path.name: path.read_text() for path in folder.glob("*.md") if path.name != "README.md"}
    listed = LINK.findall((folder / "README.md").read_text())
    assert sorted(listed) == sorted(pages)
    headings = ["Context", "Choice", "What was measured", "Consequences", "What would change our mind"]
    assert {name: re.findall(r"^## (.+)$", text, re.MULTILINE) for name, text in pages.items()} == dict.fromkeys(
        pages, headings
    )


def test_every_page_is_reached_from_the_first_one() -> None:
    """docs/README.md leads to each document; what it shows of the portal is small."""
    folder = ROOT / "docs"
    led = {(folder / link).resolve() for link in LINK.findall((folder / "README.md").read_text())}
    assert [p.name for p in sorted(folder.glob("*.md")) if p.name != "README.md" and p.resolve() not in led] == []
    pictures = sorted((folder / "images").glob("*.png"))
    assert len(pictures) == 2 and all(p.resolve() in led and p.stat().st_size < 150_000 for p in pictures)
