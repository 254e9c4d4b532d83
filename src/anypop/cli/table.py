"""Tables as people read them: aligned, without boxes, as wide as the place they are shown in.

In: columns, rows of cells, a width. Out: lines of styled pieces. Pure: it prints nothing and knows no terminal;
`screen` does that. Where there is no width (a pipe, a file) each row is one line, so that `grep` and `awk` see whole
values; in a narrow place a cell goes on below itself. Nothing is ever cut. A text is one line, whatever came in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from anypop.model.visible import visible_line

GAP = "  "
MIN_WIDTH = 8  # a wrapped column keeps this many characters: below that a word is a column of letters
PROSE_WIDTH = 24  # a wrapped sentence keeps this many while less important columns can go
_BREAKS = " ,;:/-"  # a line may end after these

Cell = str | tuple[str, str]  # text, or text and its style
Piece = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`drop`: in a narrow place columns go in falling order of this number; 0 stays always, as whatever a decision
    hangs on must. `right`: numbers line up on the right. `prose`: sentences, which are wrapped before a column goes.

    `maybe`: not shown at all where no row has anything to say in it.
    """

    head: str
    right: bool = False
    drop: int = 0
    maybe: bool = False
    prose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`empty` is the sentence shown instead of a table without rows. `foot`: how many of the last rows are sums, set
    apart by a rule.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    empty: str = "nothing to show"
    foot: int = 0
    title: str = ""


@dataclass(slots=True)
class _Layout:
    kept: list[int]
    widths: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.widths) + len(GAP) * max(0, len(self.widths) - 1)


def text_of(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def lines(table: Table, width: int | None) -> list[list[Piece]]:
    """The table as lines of (text, style). `width` in characters; None: as wide as it needs."""
    table = replace(table, rows=[[_one_line(cell) for cell in row] for row in table.rows])
    title: list[list[Piece]] = [[(visible_line(table.title), "bold")]] if table.title else []
    if not table.rows:
        return [*title, [(visible_line(table.empty), "dim")]]
    layout = _fit(table, width)
    heads: list[Cell] = [(column.head, "bold") for column in table.columns]
    found = [*title, *_lines(table, layout, heads)] if any(column.head for column in table.columns) else title
    first_sum = len(table.rows) - table.foot
    for number, row in enumerate(table.rows):
        if table.foot and number == first_sum:
            found.append([("─" * layout.total, "dim")])
        found += _lines(table, layout, row)
    return found


def _one_line(cell: Cell) -> Cell:
    return visible_line(cell) if isinstance(cell, str) else (visible_line(cell[0]), cell[1])


def _fit(table: Table, width: int | None) -> _Layout:
    shown = [
        i
        for i, column in enumerate(table.columns)
        if not column.maybe or any(text_of(row[i]) not in ("", "-") for row in table.rows)
    ]
    layout = _measure(table, shown)
    while width is not None and _least(table, layout) > width:
        droppable = [i for i in layout.kept if table.columns[i].drop]
        if not droppable:
            break
        gone = max(droppable, key=lambda i: table.columns[i].drop)
        layout = _measure(table, [i for i in layout.kept if i != gone])
    for place, index in enumerate(layout.kept):  # sentences give way first
        if width is not None and table.columns[index].prose and layout.total > width:
            room = layout.widths[place] - (layout.total - width)
            layout.widths[place] = max(min(PROSE_WIDTH, layout.widths[place]), room)
    while width is not None and layout.total > width:
        widest = max(range(len(layout.widths)), key=lambda i: layout.widths[i])
        if layout.widths[widest] <= MIN_WIDTH:
            break
        layout.widths[widest] -= 1
    return layout


def _measure(table: Table, kept: list[int]) -> _Layout:
    cells = [[table.columns[i].head, *(text_of(row[i]) for row in table.rows)] for i in kept]
    return _Layout(kept, [max(len(text) for text in column) for column in cells])


def _least(table: Table, layout: _Layout) -> int:
    """The width that is needed where sentences are wrapped."""
    spared = sum(
        max(0, width - PROSE_WIDTH)
        for index, width in zip(layout.kept, layout.widths, strict=True)
        if table.columns[index].prose
    )
    return layout.total - spared


def _lines(table: Table, layout: _Layout, row: Sequence[Cell]) -> list[list[Piece]]:
    """A row: as many lines as its longest cell needs."""
    cells = [_wrapped(text_of(row[index]), width) for index, width in zip(layout.kept, layout.widths, strict=True)]
    found = []
    for number in range(max(map(len, cells), default=0)):
        pieces: list[Piece] = []
        for place, (index, width) in enumerate(zip(layout.kept, layout.widths, strict=True)):
            cell, style = row[index], ""
            if not isinstance(cell, str):
                style = cell[1]
            text = cells[place][number] if number < len(cells[place]) else ""
            last = place == len(layout.kept) - 1
            padded = text.rjust(width) if table.columns[index].right else text if last else text.ljust(width)
            pieces.append((padded if place == 0 else GAP + padded, style))
        while pieces and not pieces[-1][0].strip():
            pieces.pop()
        if pieces:
            pieces[-1] = (pieces[-1][0].rstrip(), pieces[-1][1])
        found.append(pieces)
    return found


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width`, all of it; a line ends after a blank or a mark where there is one."""
    found: list[str] = []
    while len(text) > width:
        end = max((text.rfind(mark, 0, width + (mark == " ")) for mark in _BREAKS), default=-1) + 1
        end = end if end > 0 else width
        found.append(text[:end].rstrip(" "))
        text = text[end:].lstrip(" ")
    return [*found, text]
