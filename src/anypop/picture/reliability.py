"""Whether chances are to be believed, as a picture: how often answers were right over how sure they said to be. Pure.

In: classes of answers, each with the mean of its chances, the part that was right, and its size. Out: SVG text, whole,
for a file. On the diagonal a chance is as often true as it says; a disc below it says too much.
"""

from collections.abc import Sequence
from html import escape
from math import sqrt

_LEFT, _TOP, _SIDE, _LARGEST = 70, 50, 400, 26
_INK, _QUIET, _ACT = "#15191e", "#56616d", "#0b5cad"


def drawn(classes: Sequence[tuple[float, float, int]], *, title: str, caption: str) -> str:
    """`classes`: (said, right, networks). A disc's area is the part of all networks."""
    total = sum(networks for *_, networks in classes) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _SIDE + 40} {_TOP + _SIDE + 90}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<g font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<text x="{_LEFT}" y="28" font-weight="600">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="#f4f6f8" stroke="{_QUIET}"/>',
        f'<path d="M{_LEFT} {_TOP + _SIDE}L{_LEFT + _SIDE} {_TOP}" stroke="{_QUIET}" stroke-dasharray="6 4"/>',
    ]
    for tenth in range(0, 11, 2):
        at = tenth / 10
        parts.append(
            f'<text x="{_x(at):.0f}" y="{_TOP + _SIDE + 18}" text-anchor="middle" fill="{_QUIET}">{at:.0%}</text>'
            f'<text x="{_LEFT - 8}" y="{_y(at) + 4:.0f}" text-anchor="end" fill="{_QUIET}">{at:.0%}</text>'
        )
    for said, right, networks in classes:
        radius = max(3.0, _LARGEST * sqrt(networks / total))
        says = f"said {said:.1%}, right {right:.1%}, {networks:,} networks"
        parts.append(
            f'<circle cx="{_x(said):.1f}" cy="{_y(right):.1f}" r="{radius:.1f}" fill="{_ACT}" fill-opacity=".6">'
            f"<title>{escape(says)}</title></circle>"
        )
    middle = _LEFT + _SIDE / 2
    parts += [
        f'<text x="{middle:.0f}" y="{_TOP + _SIDE + 40}" text-anchor="middle">how sure answers said to be</text>',
        f'<text transform="translate(18 {_TOP + _SIDE / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "how often they were right</text>",
        f'<text x="{_LEFT}" y="{_TOP + _SIDE + 70}" font-size="12" fill="{_QUIET}">{escape(caption)}</text>',
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(share: float) -> float:
    return _LEFT + _SIDE * share


def _y(share: float) -> float:
    return _TOP + _SIDE * (1 - share)
