"""`python -m anypop.agent.resolver FOLDER VERSION`: the resolver of one host, in the network namespace of its start.

In: the files in the folder, read anew at SIGHUP. Out: answers, and `told.json`. The first process opens the sockets and
forks a worker; when that dies the next one goes on with the same sockets, in which questions wait meanwhile. A worker
ends with its parent, since only one can have the port. VERSION is for the agent, which finds it in the process's own
words and replaces another one than its own.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from anypop.agent.resolver import files, sockets
from anypop.agent.resolver.serving import Serving

_AGAIN_S = 1.0  # after somebody else had the port, or after a worker that lived for less
_PR_SET_PDEATHSIG = 1


def first(folder: Path) -> int:
    """Keep one worker alive until SIGTERM."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)  # what tenants ask for goes before nobody; the agent that starts it does
    worker = 0
    ending = False

    def pass_on(number: int, _frame: object) -> None:
        nonlocal ending
        ending = ending or number != signal.SIGHUP
        if worker:
            with suppress(ProcessLookupError):
                os.kill(worker, number)
        elif ending:
            os._exit(0)

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    opened = _opened(folder)
    files.write_told(folder, files.Told())
    gc.collect()
    gc.freeze()
    while not ending:
        begun = time.monotonic()
        parent = os.getpid()
        worker = os.fork()
        if worker == 0:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
            asyncio.run(_worker(folder, opened))
            os._exit(0)
        os.waitpid(worker, 0)
        worker = 0
        if time.monotonic() < begun + _AGAIN_S and not ending:
            time.sleep(_AGAIN_S)
    return 0


def _opened(folder: Path) -> sockets.Sockets:
    while True:
        try:
            return sockets.opened()
        except OSError as error:
            trouble = f"names cannot be asked for at port {sockets.PORT}: {error.strerror}"
            files.write_told(folder, files.Told(troubles=(trouble,)))
            time.sleep(_AGAIN_S)


async def _worker(folder: Path, opened: sockets.Sockets) -> None:
    serving, end = Serving(folder, opened), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, serving.read)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    serving.read()
    await serving.begin()
    await end.wait()


if __name__ == "__main__":
    sys.exit(first(Path(sys.argv[1])))
