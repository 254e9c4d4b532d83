"""`python -m anypop.agent.bfd FOLDER`: the BFD of one host, in the network namespace that it is started in.

In: `sessions.json` in the folder (read anew at SIGHUP). Out: packets, `told.json`, and to BIRD the word to restart a
session whose neighbour is lost. It forks at once: the first process does nothing but begin a new worker when one dies,
which takes a millisecond, so that neighbours notice nothing; when the first one dies its worker goes on until the next
first one is ready (`orphans`). It runs before everything else on the machine where it may (SCHED_RR), since a few
milliseconds late is lost for them; disk and BIRD are left to a thread, for they may be slow.
"""

import ctypes
import fcntl
import gc
import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from anypop.agent.bfd import orphans
from anypop.agent.bfd.endpoint import Endpoint
from anypop.agent.bfd.files import Told, read_told, read_wanted, write_told
from anypop.agent.bfd.packet import STATES
from anypop.agent.bfd.session import Event, Session
from anypop.host import birdc
from anypop.host.priority import run_before
from anypop.model.errors import WorldError

LOST = "BFD: the neighbour is silent"
_BIRD_S = 30.0  # a BIRD that takes in a full table answers late
_SHORT_LIFE_S, _SHORT_LIVES = 1.0, 3  # after so many short lives in a row the next begins after as long a pause
_LOCK_S, _LOOK_S = 2.0, 0.02
_RR_PRIORITY = 10
_NICE = -20
_MCL_ALL_ON_FAULT = 1 | 2 | 4
_libc = ctypes.CDLL(None, use_errno=True)


def first(folder: Path) -> int:
    """Keep one worker alive until SIGTERM."""
    _come_first()
    gc.collect()
    gc.freeze()
    lock = _alone(folder)
    if lock is None:
        return 1
    worker = short = 0
    ending = False

    def pass_on(number: int, _frame: object) -> None:
        nonlocal ending
        ending = ending or number == signal.SIGTERM
        if worker:
            with suppress(ProcessLookupError):
                os.kill(worker, number)

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    while not ending:
        begun = time.monotonic()
        worker = os.fork()
        if worker == 0:
            with suppress(KeyboardInterrupt):
                _Worker(folder).run()
            os._exit(0)
        if ending:  # it was told before we knew the worker
            os.kill(worker, signal.SIGTERM)
        os.waitpid(worker, 0)
        worker = 0
        short = short + 1 if time.monotonic() < begun + _SHORT_LIFE_S else 0
        if short >= _SHORT_LIVES and not ending:
            time.sleep(_SHORT_LIFE_S)
    return 0


def _alone(folder: Path) -> int | None:
    """The folder's lock, held until all of this process is gone; None: another one has it, and goes on. A worker that
    goes on without its parent gives way: all that this process needs is loaded by now.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            if not orphans.end(folder):
                time.sleep(_LOOK_S)  # one that ends is about to
        else:
            return lock


def _come_first() -> None:
    """What of it is allowed: a container may lack the rights, and goes on without."""
    run_before(_NICE)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_RR_PRIORITY))


class _Worker:
    def __init__(self, folder: Path) -> None:
        orphans.become_worker()
        _libc.mlockall(_MCL_ALL_ON_FAULT)  # a page that has to come from a disk comes late
        gc.disable()  # nothing here is made in circles
        self._folder = folder
        self._endpoint = Endpoint(self._happened)
        self._control = Path()
        self._lost: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._signalled, wakes = socket.socketpair()
        for side in (self._signalled, wakes):
            side.setblocking(False)
        self._wakes = wakes
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno())

    def run(self) -> None:
        up_before = read_told(self._folder).up()
        for work in (self._tell_bird, self._tell_agent):
            threading.Thread(target=work, daemon=True).start()
        self._endpoint.when_readable(self._signalled.fileno(), self._read_signals)
        self._control, wanted = read_wanted(self._folder)
        self._endpoint.set(wanted, up_before=up_before)
        self._changed()
        self._endpoint.run(self._changed)

    def _read_signals(self) -> None:
        numbers = self._signalled.recv(64)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._endpoint.stop()
        elif signal.SIGHUP in numbers:
            self._control, wanted = read_wanted(self._folder)
            self._endpoint.set(wanted)
        self._changed()

    def _happened(self, session: Session, event: Event) -> None:
        if event is Event.LOST:
            self._lost.put(session.wanted.name)
        self._changed()

    def _changed(self) -> None:
        states = {s.wanted.name: STATES[s.state] for s in self._endpoint.sessions.values()}
        self._news.put(Told(worker=os.getpid(), states=states, troubles=tuple(self._endpoint.troubles)))

    def _tell_bird(self) -> None:
        """What BIRD's own BFD would do to a session. A BIRD that is dead has no session that stands."""
        while True:
            name = self._lost.get()
            with suppress(WorldError):
                birdc.ask(self._control, f'restart {name} "{LOST}"', timeout_s=_BIRD_S)

    def _tell_agent(self) -> None:
        while True:
            told = self._news.get()
            while not self._news.empty():
                told = self._news.get()
            with suppress(OSError):  # a full disk: what is told is late, and nothing else
                write_told(self._folder, told)


if __name__ == "__main__":
    sys.exit(first(Path(sys.argv[1])))
