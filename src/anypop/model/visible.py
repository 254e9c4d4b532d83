"""Text of others (tenants, registries, runtimes, routers) as it may be shown on a terminal or written to a log.

In: any text. Out: the same text with whatever steers a terminal or hides from a reader spelt out: control characters
(C0, DEL, C1), overrides of the writing direction, separators and marks without width. Pure. The faces call it at their
edge, once, whatever the text came from; it must not be called on text that is stored or answered.
"""

import logging
import re

# C0 but newline and tab, DEL and C1; marks that turn the direction of writing; separators that break a line; marks that
# nobody sees (a zero-width joiner stays: Persian and many emoji are written with it).
_UNSEEN = (
    r"\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_HALVES = r"\ud800-\udfff"
_IN_TEXT = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSEEN}{_HALVES}]")
_IN_LINE = re.compile(rf"[\x00-\x1f{_UNSEEN}{_HALVES}]")
_IN_JSON = re.compile(f"[{_UNSEEN}{_HALVES}]")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """Newlines and tabs stay, everything else that could do harm is spelt as in `\\x1b`."""
    return _IN_TEXT.sub(_spelt, text)


def visible_line(text: str) -> str:
    """As `visible`, in one line: for a cell of a table, or a message in a log, which must not look like two."""
    return _IN_LINE.sub(_spelt, text)


def visible_json(document: str) -> str:
    """A JSON document whose writer left other letters than ASCII as they are: the same document, with escapes where
    a terminal would obey.
    """
    return _IN_JSON.sub(_escaped, document)


class VisibleFormatter(logging.Formatter):
    """Log records of one line, a traceback below it; neither holds what a terminal would obey."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = visible_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _spelt(found: re.Match[str]) -> str:
    character = found[0]
    if character in _NAMES:
        return _NAMES[character]
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))
