"""`anypop logs`, `exec` and `restart`: what instances say, commands run in them, and their processes made anew.

In: names of instances or of a workload. Out: lines as they come, or the command's own input, output and exit code. What
instances say is made harmless where a terminal shows it; a terminal that was asked for with `-t` is the instance's own.
"""

import json
import sys
import threading
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

import typer

from anypop.cli import attaching, changes, log_search, terminal
from anypop.cli.call import Call, command
from anypop.cli.failure import CutOff, Exit, Failure, usage
from anypop.cli.options import Timeout, Wait, Yes
from anypop.model.visible import visible, visible_json

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
MOST = 10_000

Named = Annotated[str, typer.Argument(metavar="NAME", help="A workload (all its instances), or one instance.")]
Container = Annotated[
    str,
    typer.Option("--container", "-c", metavar="NAME", help="Which container; default: the first.", show_default=False),
]


def register(root: typer.Typer) -> None:
    """The commands of this file, at the top level."""

    @command(
        root,
        "logs",
        examples="""
        anypop logs web
        anypop logs web-eu1-lhr-0 -f --tail 20
        anypop logs web --since 10m --timestamps
        anypop logs web --grep timeout --level error --since 1h
        anypop logs web -f --level warning
        anypop logs web-eu1-lhr-0 --previous
        """,
    )
    def logs(
        call: Call,
        name: Named,
        *,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is said from now on.")] = False,
        tail: Annotated[int, typer.Option("--tail", metavar="N", help="The last N lines of each; -1: all.")] = -1,
        since: Annotated[
            str, typer.Option("--since", metavar="10m", help="Not what is older: 30s, 10m, 2h, 1d.", show_default=False)
        ] = "",
        previous: Annotated[bool, typer.Option("--previous", help="Of the life before the last restart.")] = False,
        grep: Annotated[
            str, typer.Option("--grep", metavar="TEXT", help="Lines with TEXT, capitals or not.", show_default=False)
        ] = "",
        level: Annotated[
            str,
            typer.Option(
                "--level",
                metavar="warning",
                help="At least: trace, debug, info, warning, error, fatal.",
                show_default=False,
            ),
        ] = "",
        until: Annotated[
            str, typer.Option("--until", metavar="5m", help="Not what is newer, or a time.", show_default=False)
        ] = "",
        most: Annotated[
            int, typer.Option("--most", metavar="N", help="Of a search: the newest N lines.", min=1)
        ] = MOST,
        timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its moment.")] = False,
        container: Container = "",
    ) -> None:
        """What containers say, as it stands on their hosts.

        With '--grep', '--level' or '--until' hosts search, and the lines of all instances come in the order of time.
        """
        if grep or level or until:
            if previous or tail >= 0 or (follow and until):
                raise usage("--grep, --level and --until go neither with --previous nor --tail, nor --until with -f")
            narrowed = log_search.narrowed(text=grep, level=level, since=since, until=until, container=container)
            _searched(call, name, narrowed, follow=follow, most=most, timestamps=timestamps)
            return
        query: dict[str, str | int] = {"container_name": container} if container else {}
        query |= {key: "true" for key, wanted in
                  (("follow", follow), ("previous", previous), ("timestamps", timestamps)) if wanted}  # fmt: skip
        if tail >= 0:
            query["tail_lines"] = tail
        if since:
            query["since_seconds"] = log_search.seconds(since, "--since")
        workload, instances = attaching.meant(call, name)
        if not instances:
            raise Failure(
                f"{name} has no instances",
                code=Exit.NOT_FOUND,
                advice=f"'anypop describe workload {name}' tells why; 'anypop workload scale' makes some.",
            )
        _Printer(call, alone=len(instances) == 1).run(call, workload, instances, query)

    @command(
        root,
        "exec",
        words=True,
        examples="""
        anypop exec web-eu1-lhr-0 ps aux
        anypop exec -it web-eu1-lhr-0 sh
        anypop exec -i web-eu1-lhr-0 sh -c 'cat > /tmp/file' < file
        """,
    )
    def run(
        call: Call,
        instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Its name.")],
        words: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")],
        *,
        stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Give it what is typed here.")] = False,
        tty: Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal.")] = False,
        container: Container = "",
    ) -> None:
        """Run a command in an instance; its exit code is that of this command."""
        if tty and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise usage("-t needs a terminal here", advice="Leave it away: -i alone passes input on.")
        workload = attaching.one(call, instance)
        query = [("command", word) for word in words]
        if container:
            query.append(("container_name", container))
        if tty:
            rows, columns = terminal.size()
            query += [("tty", "true"), ("rows", str(rows)), ("columns", str(columns))]
        path = attaching.path_of(call, workload, instance, "exec")
        with call.client.socket(path, query, what=f"run a command in {instance}") as there:
            code = terminal.attached(there, stdin=stdin or tty, tty=tty)
        if code is None:
            raise Failure("the connection ended before the command did", advice="Is the instance still there?")
        if code:
            raise typer.Exit(code)

    @command(root, "restart", examples="anypop restart web\nanypop restart web-eu1-lhr-0")
    def restart(call: Call, name: Named, *, yes: Yes = False, wait: Wait = True, timeout: Timeout = 300) -> None:
        """Start an instance anew, or all of a workload.

        One instance: its containers are started anew in its place, with its addresses, and what is connected to it is
        cut off. A workload: its instances are made anew by a rollout, and no connection is cut off.
        """
        workload, instances = attaching.meant(call, name)
        if name not in instances:
            call.screen.agree(f"Make the {len(instances)} instances of {name} anew, wave by wave?", yes=yes)
            path = f"{call.workload_path(workload, 'anypop')}/restart"
            answer = call.client.call("POST", path, what=f"restart {name}")
            changes.ended(call, answer["workload"], wait=wait, timeout=timeout)
            return
        call.screen.agree(f"Restart {name}? Its connections are cut off.", yes=yes)
        path = f"{call.workload_path(workload)}/instances/{quote(name, safe='')}/power/restart"
        call.client.call("POST", path, what=f"restart {name}")
        call.screen.result({"instance": name, "restarted": True}, lambda: [f"{name} is being started anew"])


def _searched(call: Call, name: str, query: dict[str, str], *, follow: bool, most: int, timestamps: bool) -> None:
    workload, instances = attaching.meant(call, name)
    if name in instances:
        query["instance"] = name
    printer = log_search.Printer(call, alone=name in instances or len(instances) == 1, timestamps=timestamps)
    if follow:
        for data in log_search.follow(call, workload, query):
            printer.told(data)
    lines, silent, cut = log_search.search(call, workload, query, most=most)
    if cut:
        call.screen.note(f"the newest {len(lines)} lines: there are older ones; --until or a larger --most shows them")
    for line in lines:
        printer.show(line)
    for host, why in sorted(silent.items()):
        call.screen.note(f"lines of host {host} are not here: {why}")


class _Printer:
    """Lines of several instances on one screen, each whole, and told apart where there is more than one."""

    def __init__(self, call: Call, *, alone: bool) -> None:
        self._json = call.screen.for_programs
        self._alone = alone
        self._tame = sys.stdout.isatty()
        self._console = call.screen.console("stdout") if self._tame and not alone else None
        self._lock = threading.Lock()
        self._failures: list[Failure] = []
        self._cut_off = False

    def run(self, call: Call, workload: str, instances: list[str], query: dict[str, str | int]) -> None:
        """Print all of them: one after another, or side by side where they are followed."""
        if "follow" in query and len(instances) > 1:
            threads = [
                threading.Thread(target=self._one, args=(call, workload, name, number, query), daemon=True)
                for number, name in enumerate(instances)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for number, name in enumerate(instances):
                self._one(call, workload, name, number, query)
        if len(self._failures) == len(instances) or self._cut_off:
            # of several each was told when it came
            raise self._failures[0] if len(instances) == 1 else self._summary(instances)
        if len(instances) == 1 and "follow" in query:
            call.screen.note(f"{instances[0]}: its container has ended, and with it this log")

    def _summary(self, instances: list[str]) -> Failure:
        count = len(self._failures)
        return Failure(f"{count} of {len(instances)} logs could not be read to their end", code=self._failures[0].code)

    def _one(self, call: Call, workload: str, name: str, number: int, query: dict[str, str | int]) -> None:
        path = f"{call.workload_path(workload)}/instances/{quote(name, safe='')}"
        what = f"logs of {name}"
        try:
            before = _life(call, path, what) if "follow" in query else ""
            try:
                with call.client.stream(f"{path}/logs", what=what, **query) as pieces:
                    for line in _lines(pieces):
                        self._print(name, number, line)
            except CutOff:
                self._cut_off = True
                _life(call, path, what)  # whatever is wrong with us, or with control, says more than this
                raise
            if before and _life(call, path, what) != before:
                self._cut_off = True
                raise Failure(
                    f"{what}: this instance is gone, and another has its name",
                    code=Exit.NOT_FOUND,
                    advice=f"'anypop logs -f {name}' follows the one that is there now.",
                )
        except Failure as failure:
            self._cut_off = self._cut_off or "follow" in query
            self._failures.append(failure)
            if not self._alone:
                call.screen.note(*failure.lines())

    def _print(self, name: str, number: int, line: bytes) -> None:
        text = line.decode(errors="replace")
        with self._lock:
            if self._json:
                shown = visible_json(json.dumps({"instance": name, "line": text}, ensure_ascii=False))
            else:
                shown = visible(text) if self._tame else text
                if self._console is not None:
                    self._console.print(f"{name} ", style=COLOURS[number % len(COLOURS)], end="")
                elif not self._alone:
                    shown = f"{name} {shown}"
            sys.stdout.write(f"{shown}\n")
            sys.stdout.flush()


def _life(call: Call, path: str, what: str) -> str:
    """Which one has the name. `Failure` where it is gone, or is being taken down."""
    found = call.client.get(path, what=what).get("instance") or {}
    if found.get("deletedAt"):
        raise Failure(f"{what}: this instance is being taken down", code=Exit.NOT_FOUND)
    return str(found.get("id") or "")


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
