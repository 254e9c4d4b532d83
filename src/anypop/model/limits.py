"""What every body and every query must keep to: depth, length of texts, and no text that nothing can hold.

In: plain data, as JSON, a form, YAML or a query gave it. Out: nothing, or `Invalid` with each problem and the path of
its field. It is the one such check: the API asks it of whatever comes in, and `plan.parse` of a workload. It must not
recurse into what it has not measured yet, and it changes nothing.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from anypop.model.codec import MOST_PROBLEMS, dotted
from anypop.model.errors import Invalid, Problem

# The deepest field that any request has lies at 12; Python itself gives up at some hundreds.
DEEPEST = 64
# The kernel gives no program a longer one (MAX_ARG_STRLEN), and a VM's user data is half of this.
LONGEST_TEXT = 131_072
# A label's key has up to 317 letters; a key stands in the path of every problem below it.
LONGEST_KEY = 512
# What people call things: stacks, workloads, credentials. A slug has its own limit, 63.
LONGEST_NAME = 255
# Of a list or an object that a person writes: variables, labels, arguments, waves.
MOST_ENTRIES = 1000
# Of a path or a query: what a request's first line can hold is some times this.
LONGEST_PARAMETER = 4096
# Why somebody did something, for whoever reads it later: some lines of a terminal.
LONGEST_NOTE = 1000


def check(data: object, *, longest: int = LONGEST_TEXT) -> None:
    """Raises `Invalid` where `data` is too deep, or holds a text of more than `longest` characters, a key that is too
    long, a NUL or half a character.
    """
    if _deeper_than(data, DEEPEST):
        raise Invalid.one("", f"the body is nested more than {DEEPEST} levels deep")
    if isinstance(data, dict | list) and (problems := list(islice(_unfit(data, (), longest), MOST_PROBLEMS))):
        raise Invalid(problems)


def may_break(text: bytes) -> bool:
    """Whether JSON may hold what `check` refuses in its texts. Quick: for what is read into types, whose depth is
    known.

    JSON spells a NUL or half a character by an escape alone, and no text is longer than its document.
    """
    return len(text) > LONGEST_TEXT or b"\\u" in text


def _deeper_than(data: object, most: int) -> bool:
    """Layer by layer, so that depth costs no stack."""
    layer = [data] if isinstance(data, dict | list) else []
    for _ in range(most):
        members = (m for part in layer for m in (part.values() if isinstance(part, dict) else part))
        layer = [m for m in members if isinstance(m, dict | list)]
        if not layer:
            return False
    return True


def _unfit(part: dict[str, Any] | list[Any], way: tuple[str | int, ...], longest: int) -> Iterator[Problem]:
    """Every text that no program could be given, no store could keep or no answer could hold."""
    for step, inner in part.items() if isinstance(part, dict) else enumerate(part):
        if not isinstance(step, int) and (problem := _wrong(step, LONGEST_KEY, "the name of a field")):
            yield Problem(path=_path(way, step), message=problem)
        if isinstance(inner, str):
            if problem := _wrong(inner, longest, "a text"):
                yield Problem(path=_path(way, step), message=problem)
        elif isinstance(inner, dict | list):
            yield from _unfit(inner, (*way, step), longest)


def _wrong(text: str, longest: int, what: str) -> str:
    if len(text) > longest:
        return f"has {len(text)} characters; {what} may have {longest}"
    if text.isascii():
        return "holds a NUL or half a character" if "\0" in text else ""
    return "holds a NUL or half a character" if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text) else ""


def _path(way: tuple[str | int, ...], step: str | int) -> str:
    """The path as an answer can show it: keys cut where they are too long, and what cannot be written spelt out."""
    steps = (s if isinstance(s, int) or len(s) <= LONGEST_KEY else f"{s[:40]}..." for s in (*way, step))
    return dotted(tuple(steps)).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
