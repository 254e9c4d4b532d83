"""Half-sent requests against a running control, and what they cost it: for a test and for a benchmark.

    half_open(("127.0.0.1", 8443), pid=1234, count=1200)

In: where control listens and the id of its process. Out: its resident memory before, at the height and at the end, and
how many requests got in. Half of the requests end in the middle of their headers, the others in the middle of their
body. Traffic stays on loopback: with `sources` it comes from so many addresses of 127/8.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CUT_HEADERS = b"GET /stack/v1/stacks HTTP/1.1\r\nhost: control\r\nx-filler: " + b"f" * 4096
CUT_BODY = (
    b"POST /identity/v1/oauth2/token HTTP/1.1\r\nhost: control\r\ncontent-type: application/json\r\n"
    b"content-length: 12000\r\n\r\n" + b'{"client_id": "' + b"c" * 6000
)


# What `python -c` runs in place of `-m anypop.api`, so that every zero has its control: the same program without what
# is done against half requests.
WITHOUT = """
import sys
from anypop.api import connection, door
from anypop.api.__main__ import main
door.TLS_READ_BYTES = 256 << 10
connection.Connection.headers_s = connection.Connection.body_s = 3600.0
connection.Connection.most_unfinished = 1 << 30
sys.exit(main([*sys.argv[1:], "--connections", "100000", "--connections-per-address", "100000"]))
"""
# The same with short deadlines, for tests.
HURRIED = """
import sys
from anypop.api import connection
from anypop.api.__main__ import main
connection.Connection.headers_s, connection.Connection.body_s = 1.0, 1.5
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen:
    """Megabytes of resident memory; `inside`: requests that were let in; `answered`: of these, closed by control with
    an answer before `half_open` closed the rest.
    """

    before_mb: float
    height_mb: float
    end_mb: float
    inside: int
    answered: int

    @property
    def grown_mb(self) -> float:
        return self.height_mb - self.before_mb


def half_open(
    address: tuple[str, int],
    *,
    pid: int,
    count: int,
    sources: int = 1,
    hold_s: float = 0.0,
    until_answered: bool = False,
) -> HalfOpen:
    """Open `count` half requests and keep them for `hold_s` seconds, or with `until_answered` until control has closed
    all of them, at most 60 s.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = resident_mb(pid)
    held: list[ssl.SSLSocket] = []
    try:
        for number in range(count):
            with contextlib.suppress(OSError):
                link = socket.create_connection(address, 10, (f"127.0.0.{1 + number % sources}", 0))
                wrapped = context.wrap_socket(link)
                held.append(wrapped)
                wrapped.sendall((CUT_HEADERS, CUT_BODY)[number % 2])
        height = resident_mb(pid)
        began = time.monotonic()
        answered = 0
        while time.monotonic() - began < (60.0 if until_answered else hold_s):
            height = max(height, resident_mb(pid))
            answered = sum(_closed(link) for link in held)
            if until_answered and answered == len(held):
                break
            time.sleep(0.2)
        return HalfOpen(
            before_mb=before, height_mb=height, end_mb=resident_mb(pid), inside=len(held), answered=answered
        )
    finally:
        _close(held)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def _closed(link: ssl.SSLSocket) -> bool:
    """Whether the other side has said something: it has nothing to say but that this takes too long."""
    try:
        link.setblocking(False)
        link.recv(4096)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    return True


def _close(links: Sequence[ssl.SSLSocket]) -> None:
    for link in links:
        with contextlib.suppress(OSError):
            link.close()
