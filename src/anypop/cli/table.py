"""Tables as people read them: aligned, without boxes, as wide as the place they are shown in.

In: columns, rows of cells, a width. Out: lines of styled pieces. Pure: it prints nothing and knows no terminal;
`screen` does that. Where there is no width (a pipe, a file) nothing is ever cut, so that `grep` and `awk` see whole
values. A cell is one line, whatever text came in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from anypop.model.visible import visible_line

GAP = "  "
MIN_WIDTH = 8  # a cut column keeps this many characters: enough to tell two values apart

Cell = str | tuple[str, str]  # text, or text and its style
Piece = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`drop`: in a narrow place columns go in falling order of this number; 0 stays always. `right`: numbers line up on
    the right.

    `maybe`: not shown at all where no row has anything to say in it.
    """

    head: str
    right: bool = False
    drop: int = 0
    maybe: bool = False


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
    found = [*title, _line(table, layout, heads)] if any(column.head for column in table.columns) else title
    first_sum = len(table.rows) - table.foot
    for number, row in enumerate(table.rows):
        if table.foot and number == first_sum:
            found.append([("─" * layout.total, "dim")])
        found.append(_line(table, layout, row))
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
    while width is not None and layout.total > width:
        droppable = [i for i in layout.kept if table.columns[i].drop]
        if not droppable:
            break
        gone = max(droppable, key=lambda i: table.columns[i].drop)
        layout = _measure(table, [i for i in layout.kept if i != gone])
    while width is not None and layout.total > width:
        widest = max(range(len(layout.widths)), key=lambda i: layout.widths[i])
        if layout.widths[widest] <= MIN_WIDTH:
            break
        layout.widths[widest] -= 1
    return layout


def _measure(table: Table, kept: list[int]) -> _Layout:
    cells = [[table.columns[i].head, *(text_of(row[i]) for row in table.rows)] for i in kept]
    return _Layout(kept, [max(len(text) for text in column) for column in cells])


def _line(table: Table, layout: _Layout, row: Sequence[Cell]) -> list[Piece]:
    pieces: list[Piece] = []
    for place, (index, width) in enumerate(zip(layout.kept, layout.widths, strict=True)):
        cell = row[index]
        text, style = (cell, "") if isinstance(cell, str) else cell
        if len(text) > width:
            text = text[: width - 1] + "…"
        last = place == len(layout.kept) - 1
        padded = text.rjust(width) if table.columns[index].right else text if last else text.ljust(width)
        pieces.append((padded if place == 0 else GAP + padded, style))
    while pieces and not pieces[-1][0].strip():
        pieces.pop()
    if pieces:
        pieces[-1] = (pieces[-1][0].rstrip(), pieces[-1][1])
    return pieces
