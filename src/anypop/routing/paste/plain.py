"""A text as the router printed it: without what a terminal, a pager, mail, chat and web pages put around it.

In: the pasted text. Out: its lines, as many as it had, so that every number of a line is the text's own. Each rule
takes away only what no router prints, and costs time in proportion to the text. Pure.
"""

import html
import re
from itertools import groupby, pairwise

_CODES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[A-JL-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")
_ERASE = re.compile(r"\x1b\[0?K")  # what stands behind the cursor
_ERASE_ALL = re.compile(r"\x1b\[[12]K")
_MOVES = re.compile(r"([\x08\r]|\x1b\[0?K)")
_NOTHING = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\xad"))
_BLANK = dict.fromkeys(map(ord, "\xa0\u2007\u2009\u202f\u3000"), " ")
_PAGER = re.compile(
    r"^\s{0,3}(?:-{2,4}\s?\(?\s?[Mm]ore\b[^-\n]{0,40}-{2,4}|<-{2,4} ?[Mm]ore ?-{2,4}>|"
    r"Press any key to continue(?: \(Q to quit\))?|lines \d{1,9}-\d{1,9}(?:/\d+)?(?: \(END\))?|\(END\))"
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|nbsp|quot|#\d{1,5}|#x[0-9a-fA-F]{1,4});")
_TAG = re.compile(r"</?(?:pre|code|tt|br|p|div|span|font)\b[^<>\n]{0,200}>")
_FEW = 3  # lines: of fewer nobody can say that what they begin with is no router's
_DEEPEST = 10  # quotes of quotes
_NUMBERED = re.compile(r"^ {0,8}(?P<number>\d{1,7})(?P<sign>[:.|)]?)(?= |$)")
_WIDEST = " " * 256
_MANY = re.compile(r" {257,}")


def lines_of(text: str) -> list[str]:
    """The lines of a text, without tabs, without blanks at their ends and, where all have them, at their beginnings."""
    if _ENTITY.search(text):
        text = html.unescape(text)
    text = _TAG.sub("", _CODES.sub("", text) if "\x1b" in text else text)
    text = text.translate(_NOTHING).translate(_BLANK) if not text.isascii() else text
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
    lines = [_seen(line).expandtabs(8).rstrip() for line in text.split("\n")]
    # No table is so wide; and blanks without end must cost no time.
    lines = [_MANY.sub(_WIDEST, line) if len(line) > len(_WIDEST) else line for line in lines]
    return _at_the_margin(_unquoted(_unnumbered(lines)))


def _seen(line: str) -> str:
    """What stands on a screen when the line has been written: carriage returns and backspaces move the cursor."""
    line = _ERASE_ALL.sub("\r\x1b[K", line.rstrip("\r"))
    if "\r" in line or "\x08" in line or "\x1b" in line:
        shown: list[str] = []
        at = 0
        for piece in _MOVES.split(line):
            if piece == "\r":
                at = 0
            elif piece == "\x08":
                at = max(0, at - 1)
            elif _ERASE.fullmatch(piece):
                del shown[at:]
            else:
                shown[at : at + len(piece)] = piece
                at += len(piece)
        line = "".join(shown)
    pager = _PAGER.match(line) if "ore" in line or "lines" in line or "(END)" in line else None
    return line[pager.end() :] if pager is not None else line


def _unnumbered(lines: list[str]) -> list[str]:
    """Without numbers of lines, where every line has one, each one higher than the one before."""
    there = [_NUMBERED.match(line) for line in lines]
    while there and not lines[len(there) - 1]:
        there.pop()
    found = [match for match in there if match is not None]
    if len(found) < max(_FEW, len(there)) or any(int(b["number"]) != int(a["number"]) + 1 for a, b in pairwise(found)):
        return lines
    bare = [line[match.end() :].removeprefix(" ") for line, match in zip(lines, found, strict=False)]
    return bare + lines[len(found) :]


def _unquoted(lines: list[str]) -> list[str]:
    """Without the marks of mail and chat before some lines that follow one another, or before all."""
    for _ in range(_DEEPEST):
        changed = list(lines)
        start = 0
        for sign, group in groupby(lines, key=lambda line: line[:1]):
            end = start + len(list(group))
            if sign in (">", "|") and (end - start >= _FEW or not any(lines[:start] + lines[end:])):
                width = 2 if all(line[1:2] in ("", " ") for line in lines[start:end]) else 1
                changed[start:end] = [line[width:] for line in lines[start:end]]
            start = end
        if changed == lines:
            break
        lines = changed
    return lines


def _at_the_margin(lines: list[str]) -> list[str]:
    filled = [line for line in lines if line]
    margin = min((len(line) - len(line.lstrip(" ")) for line in filled), default=0)
    return [line[margin:] for line in lines] if margin and len(filled) > 1 else lines
