"""Routers' JSON: which maker's a document is, and the reader for it. The shapes are in `document_*`.

In: text that is one JSON document. Out: a `Pasted`; routes are counted from 1 in the place of lines. A document has no
lines to lose, so that whatever is missing is missing with its name. Pure.
"""

import json
from collections.abc import Callable
from typing import Any

from anypop.model.errors import Invalid
from anypop.routing.paste import document_eos, document_frr, document_gobgp, document_junos, document_openbgpd, ripestat
from anypop.routing.paste.pasted import Pasted, Reading, Style

_KINDS: tuple[tuple[Style, Callable[[Any], bool], Callable[[Reading, Any], Pasted]], ...] = (
    (Style.JUNOS, document_junos.looks, document_junos.read),
    (Style.EOS, document_eos.looks, document_eos.read),
    (Style.FRR, document_frr.looks, document_frr.read),
    (Style.OPENBGPD, document_openbgpd.looks, document_openbgpd.read),
    (Style.COLLECTOR, ripestat.looks, ripestat.read),
    (Style.GOBGP, document_gobgp.looks, document_gobgp.read),
)


def loaded(text: str) -> object | None:
    """The document that a text is, or that stands behind a prompt in it; None where it is none."""
    begin = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if begin < 0 or text[:begin].count("\n") > 5:
        return None
    try:
        found, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) and found and text[end:].count("\n") < 5 else None


def cut(text: str) -> bool:
    """Whether a text begins as a document and does not end as one."""
    stripped = text.lstrip()
    return stripped.startswith('{"') or (stripped.startswith("{") and '":' in stripped[:200])


def read(reading: Reading, found: object, style: Style | None) -> Pasted:
    """All routes of the document; `Invalid` where it is nobody's that we know."""
    for whose, looks, reader in _KINDS:
        if style in (None, whose) and _safely(looks, found):
            try:
                return reader(reading, found)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise Invalid.one(
                    "line 1", f"the JSON of {whose.says} has another shape than its own: {error}"
                ) from error
    raise Invalid.one("line 1", "this JSON is of none of Junos, EOS, FRR, OpenBGPD, GoBGP and RIPEstat's looking glass")


def _safely(looks: Callable[[Any], bool], found: object) -> bool:
    try:
        return looks(found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return False
