"""`python -m anypop.agent.shipping FOLDER VERSION`: sends this host's logs to receivers until SIGTERM.

In: the files of the folder, read anew at SIGHUP. Out: lines at receivers; positions and counters in the folder. Each
receiver goes at its own pace; one that is away waits in the rotated files, longer between two tries each time.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from anypop.agent.shipping import files
from anypop.agent.shipping.shipper import Shipper


async def run(folder: Path, version: str) -> None:
    loop = asyncio.get_running_loop()
    ended, news = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, news.set)
    shipper = Shipper(folder, version)
    working = asyncio.create_task(shipper.run(news))
    await ended.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def main() -> int:
    folder, version = Path(sys.argv[1]), sys.argv[2]
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 10)  # whatever else this host does goes first
    files.write(folder, files.Told(version=version))
    asyncio.run(run(folder, version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
