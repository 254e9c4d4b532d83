"""What one should know of an answer whose body has no place for it: `Warning` headers (RFC 7234, section 5.5).

In: texts. Out: a header for each, in ASCII, cut where it is long. Only the first few: clients and proxies give up on
answers with headers of more than some kilobytes.
"""

from collections.abc import Sequence

from fastapi import Response

MOST = 20
LONGEST = 300


def warn(response: Response, texts: Sequence[str]) -> None:
    for text in texts[:MOST]:
        plain = text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
        response.headers.append(
            "warning", f'299 anypop "{"".join(c if c.isprintable() else "?" for c in plain)[:LONGEST]}"'
        )
