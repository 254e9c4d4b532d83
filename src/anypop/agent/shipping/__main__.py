"""`python -m anypop.agent.shipping FOLDER VERSION`: sends this host's logs to receivers until SIGTERM.

In: the files of the folder, read anew at SIGHUP. Out: lines at receivers; positions and counters in the folder. Each
receiver goes at its own pace; one that is away waits in the rotated files, longer between two tries each time. VERSION
is for the agent, which finds it in the process's own words and replaces another one than its own.
"""

import asyncio
import sys
from pathlib import Path

from anypop.agent.kept_life import live
from anypop.agent.shipping.shipper import Shipper
from anypop.host.priority import run_at


def main() -> int:
    run_at(10)  # whatever else this host does goes first
    asyncio.run(live(Shipper(Path(sys.argv[1])).run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
