"""`python -m anypop.agent`: one PoP's agent, or with `--teardown` the end of everything it made.

In: the command line. Out: a process that runs until SIGTERM; at SIGTERM it leaves at once, and BIRD, containers and
routes stay as they are. Run it in the PoP's router namespace (`nsenter --net=/run/netns/NAME`; on a real host that is
the host's own).
"""

import argparse
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from anypop.agent.teardown import take_down
from anypop.host.memory_pools import loading, share_pools
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.visible import VisibleFormatter, visible, visible_line


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m anypop.agent", description="The agent of one PoP.")
    parser.add_argument("--pop", help="the PoP's city, as an IATA code: LHR")
    parser.add_argument(
        "--host", help="this host's name in the network document (default: the PoP's city, its only host)"
    )
    parser.add_argument(
        "--control", action="append", help="control's address: https://HOST:PORT; again for each one that stands by"
    )
    parser.add_argument("--ca", type=Path, help="the certificate that signed control's own")
    parser.add_argument("--token-file", type=Path, help="the file that holds this agent's token")
    parser.add_argument("--join", action="store_true", help="get a certificate with that token where there is none yet")
    parser.add_argument("--state", type=Path, required=True, help="the agent's own folder")
    parser.add_argument("--podman", type=Path, required=True, help="the UNIX socket of `podman system service`")
    parser.add_argument(
        "--prefix", default="any", help="begins the name of everything this platform makes (default: any)"
    )
    parser.add_argument("--teardown", action="store_true", help="take everything of this PoP down, and end")
    arguments = parser.parse_args(argv)
    if not arguments.teardown and not (arguments.pop and arguments.control):
        parser.error("--pop and --control are needed to run an agent")
    return arguments


def _write_visibly() -> None:
    """What others wrote stands in our errors too: nothing of it may steer the terminal on which the log is read."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    sys.excepthook = lambda kind, error, trace: sys.stderr.write(
        visible("".join(traceback.format_exception(kind, error, trace)))
    )


def main(argv: list[str]) -> int:
    """The exit code: 0, or 1 when the world failed in a way that cannot be waited for."""
    share_pools()
    arguments = _arguments(argv)
    _write_visibly()
    try:
        if arguments.teardown:
            for line in take_down(
                prefix=arguments.prefix, pop=arguments.pop, state=arguments.state, podman=arguments.podman
            ):
                print(visible_line(line), file=sys.stderr)  # noqa: T201 - a command line's own words
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            # nothing needs an orderly end: every effect is on disk or in the kernel, and a kill has to be survived
            # anyway
            signal.signal(number, lambda *_: os._exit(0))
        with loading():
            from anypop.agent.live import live  # noqa: PLC0415 - a teardown needs none of it, and it takes long to load

        live(
            prefix=arguments.prefix, pop=CityCode(arguments.pop.upper()),
            host=HostName(arguments.host or arguments.pop.upper()),
            state=arguments.state, podman=arguments.podman,
            control=arguments.control, ca=arguments.ca, token_file=arguments.token_file, joins=arguments.join,
        )  # fmt: skip
    except WorldError as error:
        print(visible(f"anypop agent: {error}"), file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:  # a folder or a file that was named on the command line, or a certificate that is none
        where = error.filename or arguments.ca or arguments.state
        print(visible(f"anypop agent: {where}: {error.strerror or error}"), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
