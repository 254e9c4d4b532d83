"""A file from a URL to control's disk: bounded, resumed where it was cut, and never from an address that is inside.

In: a URL, a file that may have a beginning already, the most that may come. Out: the whole file, unchecked; or
`Invalid` for what will never work, `WorldError` for what does not work now after some tries. Every request goes to the
very address that was checked, and each redirect is checked anew. Blocking: for a thread of its own.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from anypop.control.outside import Place
from anypop.model.errors import Invalid, WorldError

if TYPE_CHECKING:
    import httpx

PATIENCE_S = 30.0  # of silence
MOST_REDIRECTS = 5
TRIES = 6  # in a row that bring nothing
SLOWEST_BYTES_S = 16 << 10  # on average, after the first minute: slower takes a place from others for days
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Stopped(Exception):  # noqa: N818 - nobody wants it any more
    """The image is gone, or control ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What one download reads and tells. `place`: see `outside.place_of`; `append`: takes bytes at an offset; `told`:
    hears how large the whole is, where that is said, and refuses what is too large; `stopped`: whether to leave off.
    `pinned`: the content is known by its checksum, so that what came in an earlier life counts.
    """

    place: Callable[[str], Place]
    received: Callable[[], int]
    append: Callable[[int, bytes], int]
    begin_anew: Callable[[], None]
    told: Callable[[int], None]
    stopped: Callable[[], bool]
    pinned: bool


def download(url: str, ends: Ends, *, pause: Callable[[float], None] = time.sleep) -> None:
    """All of it. Raises `Invalid`, `WorldError` and `Stopped`."""
    if not ends.pinned:
        ends.begin_anew()
    validator, failures = "", 0
    while True:
        before = ends.received()
        try:
            validator = _once(url, ends, validator)
            return
        except _Cut as cut:
            validator = cut.validator
            failures = 0 if ends.received() > before else failures + 1
            if failures >= TRIES:
                raise WorldError(f"fetch {_shown(url)}", cut.why) from cut
        for _ in range(1 + 4 * min((1 << failures) - 1, 30)):
            if ends.stopped():
                raise Stopped
            pause(0.25)


class _Cut(Exception):  # noqa: N818 - it is a moment, and most of them mend
    """It may be tried again, from where it was; `validator`: of what came so far."""

    def __init__(self, why: str, validator: str) -> None:
        super().__init__(why)
        self.why, self.validator = why, validator


def _once(url: str, ends: Ends, validator: str) -> str:
    import httpx  # noqa: PLC0415 - most controls never fetch an image

    here = ends.received()
    headers = {"accept-encoding": "identity", "user-agent": "anypop"}
    if here and (validator or ends.pinned):
        headers["range"] = f"bytes={here}-"
        if validator:
            headers["if-range"] = validator
    elif here:
        ends.begin_anew()
        here = 0
    try:
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=PATIENCE_S) as client:
            at = url
            for _ in range(MOST_REDIRECTS + 1):
                place = ends.place(at)
                request = client.build_request(
                    "GET", place.url, headers={**headers, "host": place.authority},
                    extensions={"sni_hostname": place.host},
                )  # fmt: skip
                answer = client.send(request, stream=True)
                try:
                    if answer.is_redirect and "location" in answer.headers:
                        at = urljoin(at, answer.headers["location"])
                        continue
                    return _taken(answer, ends, here, validator)
                finally:
                    answer.close()
    except httpx.HTTPError as error:
        raise _Cut(str(error) or type(error).__name__, validator) from error
    except WorldError as error:
        if error.what.startswith("find "):
            raise _Cut(str(error), validator) from error
        raise
    raise Invalid.one("", f"{_shown(url)} leads on more than {MOST_REDIRECTS} times")


def _taken(answer: "httpx.Response", ends: Ends, here: int, validator: str) -> str:
    import httpx  # noqa: PLC0415

    status = answer.status_code
    if status == 416 and here and answer.headers.get("content-range", "").endswith(f"*/{here}"):
        return validator  # all of it was here
    if status in _AGAIN or status >= 500:
        raise _Cut(f"it answers {status}", validator)
    if status not in (200, 206):
        raise Invalid.one("", f"its address answers {status}")
    if status == 200 and here:
        ends.begin_anew()
        here = 0
    elif status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", answer.headers.get("content-range", ""))
        if found is None or int(found[1]) != here:
            raise Invalid.one("", "its server answers with another part than the one it was asked for")
    told = answer.headers.get("content-length", "")
    whole = here + int(told) if told.isdigit() and len(told) < 19 else None
    if whole is not None:
        ends.told(whole)
    validator = answer.headers.get("etag", "")
    if validator.startswith("W/"):
        validator = ""  # RFC 9110, section 13.1.5: a weak one does not do for ranges
    began, first = time.monotonic(), here
    try:
        for piece in answer.iter_raw():
            if ends.stopped():
                raise Stopped
            here = ends.append(here, piece)
            if whole is None:
                ends.told(here)
            spent = time.monotonic() - began
            if spent > 60 and here - first < SLOWEST_BYTES_S * spent:
                raise Invalid.one("", f"comes with less than {SLOWEST_BYTES_S >> 10} KiB in a second")
    except httpx.HTTPError as error:
        raise _Cut(str(error) or type(error).__name__, validator) from error
    if whole is not None and here != whole:
        raise _Cut(f"{here} of {whole} bytes came", validator)
    return validator


def _shown(url: str) -> str:
    """Without what may be a secret."""
    return url.partition("?")[0]
