"""Load on a host under test: requests over a new connection each at a steady pace, and connections that stay.

Both run in a network namespace of the test's own, from threads: a request that fails, or is answered by nobody known,
is written down.
"""

import http.client
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress

from anypop.host import netns
from anypop.model.announce import Address

EVERY_S = 0.002
TIMEOUT_S = 3.0  # long enough for a lost packet to be sent again: what the kernel mends is no failure


class Requests:
    """Asks `address` for its page each 2 ms until it is stopped. `answers`: who answered how often; `failures`: when
    and why.
    """

    def __init__(self, namespace: str, address: object, *, port: int = 80) -> None:
        self._namespace, self._address, self._port = namespace, str(address), port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self.last = ""

    def __enter__(self) -> "Requests":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        with netns.inside(self._namespace):
            while not self._over.is_set():
                self._ask()
                due = max(due + EVERY_S, time.monotonic() - 0.1)  # a slow moment is made up for, a long one is not
                self._over.wait(max(0.0, due - time.monotonic()))

    def _ask(self) -> None:
        self.sent += 1
        connection = http.client.HTTPConnection(self._address, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/")
            self.last = connection.getresponse().read().decode().strip()
            self.answers[self.last] = self.answers.get(self.last, 0) + 1
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{self._address}, request {self.sent}: {type(error).__name__}: {error}")
        finally:
            with suppress(OSError):
                connection.close()


def pour(namespace: str, addresses: Collection[Address]) -> None:
    """Packets of so many flows that each bucket of the groups on their way has seen one: for a minute all are busy."""
    with netns.inside(namespace):
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            for _ in range(30):
                with socket.socket(family, socket.SOCK_DGRAM) as sender:
                    for port in range(1000, 1500):
                        with suppress(OSError):
                            sender.sendto(b"", (str(address), port))
