"""The wire: one process that holds every frame of the long links for as long as light needs. Run as `python -m
anypop.lab.wire FILE`.

FILE (made by `build`) lists the links: two TAP devices, each in its namespace, and the delay one way. The kernel's own
emulator (netem) is a module that not every machine has. It sleeps in epoll until a frame comes or is due; a link's
delay is constant, so frames keep their order. It imports nothing of ours but the way into a namespace, to stay small.
The devices outlive it: they lose their carrier when it dies and get it back when it is started again.
"""

import ctypes
import fcntl
import gc
import heapq
import json
import os
import select
import struct
import sys
import time
from pathlib import Path

from anypop.host import netns
from anypop.host.priority import run_before

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_LONGEST_FRAME = 9216  # a jumbo frame; our links carry 1514 bytes
# frames held towards one end: 100 Mbit/s over the longest way round the Earth; more is dropped, as a router would
_IN_FLIGHT = 8192
_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000
_NICE = -15


class _Timer:
    """A timerfd on the monotonic clock: epoll's own timeout knows only whole milliseconds, and a path has many
    links.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = int(self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, due_ns: int) -> None:
        spec = struct.pack("qqqq", 0, 0, *divmod(due_ns, _NS))
        self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, spec, None)

    def clear(self) -> None:
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return


def open_tap(namespace: str, interface: str) -> int:
    """A non-blocking handle of an existing TAP device; the device has a carrier while the handle is open."""
    with netns.inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", interface.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd


def carry(ways: dict[int, tuple[int, int]]) -> None:
    """Carry frames for ever. `ways`: for each handle the handle of the far end, and the delay in nanoseconds."""
    timer, poll = _Timer(), select.epoll()
    poll.register(timer.fd, select.EPOLLIN)
    for fd in ways:
        poll.register(fd, select.EPOLLIN)
    buffer = bytearray(_LONGEST_FRAME)
    view = memoryview(buffer)
    held: list[tuple[int, int, int, bytes]] = []
    waiting = dict.fromkeys(ways, 0)
    count, armed = 0, 0
    clock, read, write = time.monotonic_ns, os.readv, os.write
    while True:
        for fd, _ in poll.poll():
            if fd == timer.fd:
                timer.clear()
                armed = 0
                continue
            far, delay = ways[fd]
            while True:
                try:
                    size = read(fd, [buffer])
                except BlockingIOError:
                    break
                except OSError:  # the device is gone, with its namespace: whoever makes it anew starts us anew
                    poll.unregister(fd)
                    break
                if waiting[far] < _IN_FLIGHT:
                    count += 1
                    waiting[far] += 1
                    heapq.heappush(held, (clock() + delay, count, far, bytes(view[:size])))
        now = clock()
        while held and held[0][0] <= now:
            _, _, far, frame = heapq.heappop(held)
            waiting[far] -= 1
            try:
                write(far, frame)
            except OSError:  # down or full: the frame is lost, as on a real link
                continue
        if held and held[0][0] != armed:
            armed = held[0][0]
            timer.set(armed)


def main(file: Path) -> None:
    """Open every device of `file`, say so by a file beside it that holds our pid, and carry. Before the routers, where
    that is allowed: light does not wait for a processor, and a BFD packet that does ends sessions.
    """
    run_before(_NICE)
    with file.open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # a second wire on the same lab waits here until the first has died
        ways: dict[int, tuple[int, int]] = {}
        for link in json.load(alone):
            a, b = (open_tap(*end) for end in (link["a"], link["b"]))
            delay = round(link["one_way_ms"] * 1_000_000)
            ways[a], ways[b] = (b, delay), (a, delay)
        ready = file.with_suffix(".ready")
        ready.write_text(str(os.getpid()))
        gc.disable()  # nothing here is part of a circle; counting references is enough
        carry(ways)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
