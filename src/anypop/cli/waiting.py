"""`anypop wait`: until a workload runs, is announced, has so many healthy instances, has rolled out, or is gone.

In: a workload and a goal. Out: the state in which the goal is reached, or a `Failure` (exit code 6) that says what is
missing. It goes by the streams in which control tells of changes; nothing is asked again and again.
"""

import re
import time
from typing import Annotated, Any

import typer

from anypop.cli import announcements, rollouts, told, views, watch
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import Timeout
from anypop.cli.screen import Shown

_GOALS = ("running", "healthy=N", "announced", "rolled-out", "gone")


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop wait web
    anypop wait workload/web --for announced --timeout 60
    anypop wait web --for healthy=3
    anypop wait web --for gone
    """
    command(root, "wait", examples=examples)(wait_for)


def wait_for(
    call: Call,
    words: Annotated[
        list[str], typer.Argument(metavar="WORKLOAD", help="Its name, also as 'workload web' or 'workload/web'.")
    ],
    *,
    goal: Annotated[
        str,
        typer.Option("--for", metavar="|".join(_GOALS), help="What to wait for."),
    ] = "running",
    timeout: Timeout = 300,
) -> None:
    """Wait until every instance of a workload runs, at least N are healthy, every session that shall tells its
    prefixes, its newest change has gone everywhere, or it is gone.
    """
    name = _named(words)
    what, _, number = goal.lower().removeprefix("condition=").partition("=")
    match what, number:
        case "running", "":
            found = call.client.get(call.workload_path(name), what=f"wait for {name}")["workload"]
            rows = watch.until_running(call, name, views.expected(found), timeout_s=timeout)
            _say(call, name, goal, [views.instances(views.by_name(rows))], {"instances": rows})
        case "healthy", text if re.fullmatch("[0-9]{1,6}", text):
            rows = _until_healthy(call, name, int(text), timeout)
            _say(call, name, goal, [views.instances(views.by_name(rows))], {"instances": rows})
        case "announced", "":
            found = _until_announced(call, name, timeout)
            _say(call, name, goal, [announcements.table(found)], {"announcements": found})
        case "rolled-out", "":
            found = call.client.get(call.workload_path(name), what=f"wait for {name}")["workload"]
            revision = int((found.get("metadata") or {}).get("version") or 0)
            rollout = rollouts.until_ended(call, name, revision, timeout_s=timeout)
            _say(call, name, goal, [rollouts.sentence(rollout)] if rollout else [], {"rollout": rollout})
        case "gone", "":
            watch.until_gone(call, name, timeout_s=timeout)
            _say(call, name, goal, [], {})
        case _:
            raise usage(f"--for {goal}: there is no such goal", advice=f"Goals: {', '.join(_GOALS)}.")


def _named(words: list[str]) -> str:
    *kind, name = words[0].split("/", 1) if len(words) == 1 else words
    if len(kind) > 1 or (kind and kind[0] not in ("workload", "workloads", "wl")):
        raise usage("one workload can be waited for: 'anypop wait NAME'")
    return name


def _say(call: Call, name: str, goal: str, shown: list[Shown], more: dict[str, Any]) -> None:
    call.screen.result({"workload": name, "for": goal, **more}, lambda: [f"{name}: {goal}", *shown])


def _until_healthy(call: Call, name: str, count: int, timeout: float) -> watch.Instances:
    deadline, healthy = time.monotonic() + timeout, 0
    for seen in watch.states(call, name, deadline):
        rows = [i for i in seen if is_healthy(i)]
        healthy = len(rows)
        if healthy >= count:
            return rows
    raise Failure(
        f"{name}: {healthy} healthy instances after {timeout:g} s, not {count}",
        code=Exit.TIMEOUT,
        advice=f"'anypop describe workload {name}' tells why.",
    )


def is_healthy(instance: views.Data) -> bool:
    """It runs, and each of its containers, or its virtual machine, says that it is ready."""
    statuses = instance.get("containerStatuses") or instance.get("virtualMachineStatuses") or []
    return instance.get("phase") == "RUNNING" and all(status.get("ready", True) for status in statuses)


def _until_announced(call: Call, name: str, timeout: float) -> list[views.Data]:
    """The rows, once all that shall be announced is, and something serves behind each."""
    rows: list[views.Data] = []
    path = f"{call.workload_path(name, 'anypop')}/announcements/watch"
    for shown in told.states(call, path, what=f"announcements of {name}", until=time.monotonic() + timeout):
        rows = shown.get("results") or []
        wanted = [row for row in rows if (row.get("scope") or {}).get("mode") != "withhold"]
        if not rows:
            raise usage(
                f"{name} has no anycast address: nothing of it is announced",
                advice="An address is asked for at creation, with --anycast.",
            )
        if all(row.get("announced") and not row.get("dark") for row in wanted):
            return rows
    missing = [
        f"{row.get('prefix')} in {row.get('pop')} to {row.get('upstream')}: {row.get('says')}"
        for row in rows
        if not row.get("announced") or row.get("dark")
    ]
    raise Failure(
        f"{name} is not announced everywhere after {timeout:g} s",
        code=Exit.TIMEOUT,
        problems=missing,
        advice=f"'anypop announce list {name}' shows each of them, 'anypop pops' the sessions.",
    )
