"""Waiting for a workload with open eyes: SCHEDULING, STARTING, RUNNING, as control's watch stream tells it.

In: a workload's name and how many instances it asks for. Out: the instances once all run, or a `Failure` that names
those that do not and why. On a terminal one table changes in place, elsewhere each change of phase is one line. The
stream is a hint, never the truth: when it ends the list of instances is read again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from anypop.cli import views
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure
from anypop.cli.screen import Screen

Instances = list[dict[str, Any]]

# between two looks where no stream tells of changes: short beside a start (seconds), long beside a request
# (milliseconds)
POLL_S = 0.25
_SILENCE_S = 30.0  # three signs of life that did not come: the connection is dead


def until_running(call: Call, workload: str, count: int, *, timeout_s: float) -> Instances:
    """The instances of `workload` once `count` of them run. `Failure` (exit code 6) after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    seen: Instances = []
    with _drawn(call.screen) as draw:
        for seen in states(call, workload, deadline):
            draw(seen)
            if seen and len(seen) >= count and all(i.get("phase") == "RUNNING" for i in seen):
                return seen
    late = [f"{i.get('name')}: {i.get('phase')}, {views.why(i)}" for i in seen if i.get("phase") != "RUNNING"]
    raise Failure(
        f"{workload}: {len(seen) - len(late)} of {max(count, len(seen))} instances run after {timeout_s:g} s",
        code=Exit.TIMEOUT,
        problems=late,
        advice=f"They go on starting; look again with: anypop workload wait {workload}",
    )


def until_gone(call: Call, workload: str, *, timeout_s: float) -> None:
    """Returns once control no longer knows the workload."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if _is_gone(call, workload):
            return
        began = time.monotonic()
        if not _told_gone(call, workload, deadline):
            time.sleep(max(0.0, began + POLL_S - time.monotonic()))
    raise Failure(
        f"{workload} is still being taken down after {timeout_s:g} s",
        code=Exit.TIMEOUT,
        advice=f"Look again with: anypop workload wait {workload} --for gone",
    )


def _is_gone(call: Call, workload: str) -> bool:
    try:
        call.client.get(call.workload_path(workload), what=f"look for {workload}")
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND:
            return True
        raise
    return False


def _told_gone(call: Call, workload: str, deadline: float) -> bool:
    """Whether control's stream told of the end; False where it broke, or where there is none."""
    path, left = f"{call.workload_path(workload, 'anypop')}/watch", max(0.1, deadline - time.monotonic())
    try:
        events = call.client.events(path, what=f"watch {workload}", silence_s=left)
        return any(event == "gone" or time.monotonic() > deadline for event, _ in events)
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND:
            return False
        raise


def states(call: Call, workload: str, deadline: float) -> Iterator[Instances]:
    """Each state that control tells of, until `deadline`: by the stream where it has one, by asking again where it
    has not. `Failure` where the workload is gone, or may be watched no longer.
    """
    what = f"watch {workload}"
    streams = True
    while (left := deadline - time.monotonic()) > 0:
        yield call.client.every(f"{call.workload_path(workload)}/instances", what=what)
        if not streams:
            time.sleep(POLL_S)
            continue
        began = time.monotonic()
        gone = Failure(f"{workload} is gone", code=Exit.NOT_FOUND)
        try:
            for event, data in call.client.events(
                f"{call.workload_path(workload, 'anypop')}/watch", what=what, silence_s=min(left, _SILENCE_S)
            ):
                if event == "gone":
                    raise gone
                if isinstance(data, dict) and isinstance(data.get("instances"), list):
                    yield data["instances"]
                if time.monotonic() > deadline:
                    return
        except Failure as failure:
            if failure is gone or failure.code in (Exit.UNREACHABLE, Exit.DENIED):
                raise
            streams = False
        # a stream that ends at once must not become a storm of requests
        time.sleep(max(0.0, began + POLL_S - time.monotonic()))


@contextmanager
def _drawn(screen: Screen) -> Iterator[Callable[[Sequence[dict[str, Any]]], None]]:
    """A function that shows a state: in place on a terminal, changes as lines elsewhere."""
    if screen.live:
        from rich.live import Live  # noqa: PLC0415 - only where something is drawn

        with Live(console=screen.console("stderr"), auto_refresh=False, transient=True) as live:
            yield lambda seen: live.update(screen.text([views.instances(views.by_name(seen))]), refresh=True)
        return
    began = time.monotonic()
    phases: dict[str, str] = {}

    def lines(seen: Sequence[dict[str, Any]]) -> None:
        for instance in views.by_name(seen):
            name, phase = str(instance.get("name")), str(instance.get("phase"))
            if phases.get(name) != phase:
                phases[name] = phase
                reason = views.why(instance)
                screen.note(
                    f"{time.monotonic() - began:7.3f} s  {name}  {phase}" + ("" if reason == "-" else f"  {reason}")
                )

    yield lines
