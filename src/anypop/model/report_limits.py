"""How large a report may be, and how a host keeps within it.

In: a report. Out: what of it is beyond any honest host (`excess`, asked by control before it believes a word), or the
report cut to size, with a line that says so (`trimmed`, done by the agent before it sends). Pure; it knows nothing of
what the report is about.
"""

from dataclasses import replace

from anypop.model.errors import Problem
from anypop.model.report import ContainerReport, InstanceReport, Milestone, Report

# A host has a /20 of private addresses at most in any network document so far, and as many prefixes need as many
# neighbours: both numbers are above what one machine runs.
MOST_INSTANCES = 8192
MOST_PREFIXES = 8192
MOST_SESSIONS = 1024
MOST_CARRIED = 65_536  # addresses of a whole platform
MOST_TUNNELS = 4096
MOST_CONTAINERS = 64  # of one instance
MOST_VOLUMES = 65_536
MOST_SNAPSHOTS = 64  # of one volume
MOST_LINES = 8192
LONGEST_LINE = 65_536
# What an agent cuts its own to, and what becomes events: of errors, drift and orphans whoever reads them reads the
# first.
TOLD_LINES = 256
TOLD_LENGTH = 4096
TOLD_BY_INSTANCES = 1 << 18  # characters of all texts about instances; control takes reports of 4 MiB
_SHORTEST = 64
_MOST = {
    "instances": MOST_INSTANCES,
    "sessions": MOST_SESSIONS,
    "prefixes": MOST_PREFIXES,
    "gone": MOST_INSTANCES,
    "orphans": MOST_LINES,
    "drift": MOST_LINES,
    "errors": MOST_LINES,
    "carried": MOST_CARRIED,
    "tunnels": MOST_TUNNELS,
    "volumes": MOST_VOLUMES,
    "volumes_gone": MOST_VOLUMES,
    "measured": MOST_INSTANCES,
    "flows": MOST_INSTANCES,
}
_HIGHEST = 2**62  # the store keeps numbers of 64 bits
_LATEST = 1e11  # seconds since the epoch that still have a date (year 5138)


def excess(report: Report) -> list[Problem]:
    """What is too much or too large, with the path of its field; none for a report that may be read on."""
    problems = [
        Problem(path=name, message=f"has {len(getattr(report, name))} entries; {most} are allowed")
        for name, most in _MOST.items()
        if len(getattr(report, name)) > most
    ]
    if problems:
        return problems
    for at, one in enumerate(report.instances):
        wrong = _wrong(one.message, one.started_at, *(reached.at for reached in one.milestones[: len(Milestone)]))
        if len(one.milestones) > len(Milestone):
            wrong = f"has {len(one.milestones)} milestones; {len(Milestone)} are allowed"
        every = (*one.init, *one.containers)
        if len(every) > MOST_CONTAINERS:
            wrong = f"has {len(every)} containers; {MOST_CONTAINERS} are allowed"
        for c in every:
            wrong = wrong or _wrong(c.message, c.started_at, c.finished_at, c.last_finished_at)
            wrong = wrong or _wrong(c.last_message)
        if wrong:
            problems.append(Problem(path=f"instances[{at}]", message=wrong))
    for at, volume in enumerate(report.volumes):
        wrong = _wrong(volume.message, *(s.at for s in volume.snapshots[:MOST_SNAPSHOTS]))
        sizes = (volume.size_bytes, volume.used_bytes or 0, volume.restored, *(s.size_bytes for s in volume.snapshots))
        if len(volume.snapshots) > MOST_SNAPSHOTS or not all(0 <= size <= _HIGHEST for size in sizes):
            wrong = wrong or "is no volume that a host can have"
        if wrong:
            problems.append(Problem(path=f"volumes[{at}]", message=wrong))
    for at, session in enumerate(report.sessions):
        if wrong := _wrong(session.error, session.since):
            problems.append(Problem(path=f"sessions[{at}]", message=wrong))
    for at, prefix in enumerate(report.prefixes):
        counts = [number for one in prefix.arrived or () for number in (one.packets, one.octets)]
        if not all(0 <= number <= _HIGHEST for number in counts):
            problems.append(Problem(path=f"prefixes[{at}].arrived", message="is no count that a machine can have"))
        if wrong := _wrong("", *(one.at for one in prefix.arrived or ())):
            problems.append(Problem(path=f"prefixes[{at}].arrived", message=wrong))
    for name in ("gone", "orphans", "drift", "errors"):
        for at, line in enumerate(getattr(report, name)):
            if wrong := _wrong(line):
                problems.append(Problem(path=f"{name}[{at}]", message=wrong))
    for path, counted in (("measured", report.measured), ("flows", report.flows)):
        if not all(0 <= number <= _HIGHEST for _, number in counted):
            problems.append(Problem(path=path, message="is no use that a machine can have"))
    if len(report.processor) > TOLD_LENGTH:
        problems.append(Problem(path="processor", message=f"is longer than {TOLD_LENGTH} characters"))
    if wrong := _wrong("", report.at):
        problems.append(Problem(path="at", message=wrong))
    if report.generation < 0:
        problems.append(Problem(path="generation", message="must be at least 0"))
    told = report.capacity
    if told is not None and not all(
        0 <= amount <= _HIGHEST for amount in (told.cpu_millis, told.memory_bytes, told.disk_bytes)
    ):
        problems.append(Problem(path="capacity", message="is no amount that a machine can have"))
    return problems


def _wrong(text: str, *times: float | None) -> str:
    """A comparison with what is no number is false, so such a time is wrong too."""
    if len(text) > LONGEST_LINE:
        return f"has a text of {len(text)} characters; {LONGEST_LINE} are allowed"
    return "has a time that is none" if any(t is not None and not 0 <= t <= _LATEST for t in times) else ""


def trimmed(report: Report) -> Report:
    """The report within what is told of a host whose errors are long or many. The same object where nothing is cut."""
    orphans, drift, errors = told_lines(report.orphans), told_lines(report.drift), told_lines(report.errors)
    if orphans is not report.orphans or drift is not report.drift or errors is not report.errors:
        report = replace(report, orphans=orphans, drift=drift, errors=errors)
    if any(len(i.message) > TOLD_LENGTH or any(_is_long(c) for c in (*i.init, *i.containers))
           for i in report.instances):  # fmt: skip
        report = replace(report, instances=tuple(map(_instance, report.instances)))
    texts = [len(text) for i in report.instances for text in _texts(i) if text]
    if sum(texts) > TOLD_BY_INSTANCES:
        # what tenants' processes say must not make the report of their host too long to be heard
        most = max(TOLD_BY_INSTANCES // len(texts), _SHORTEST)
        report = replace(report, instances=tuple(_instance(i, most) for i in report.instances))
    if any(len(s.error) > TOLD_LENGTH for s in report.sessions):
        report = replace(report, sessions=tuple(replace(s, error=_cut(s.error)) for s in report.sessions))
    return report


def told_lines(found: tuple[str, ...]) -> tuple[str, ...]:
    """As many and as long as a report has them; the very same where they are."""
    if len(found) > TOLD_LINES:
        found = (*found[: TOLD_LINES - 1], f"and {len(found) - TOLD_LINES + 1} more")
    return tuple(map(_cut, found)) if any(len(line) > TOLD_LENGTH for line in found) else found


def _texts(one: InstanceReport) -> tuple[str, ...]:
    return (one.message, *(text for c in one.every_container for text in (c.message, c.last_message)))


def _instance(one: InstanceReport, most: int = TOLD_LENGTH) -> InstanceReport:
    init, containers = (
        tuple(replace(c, message=_cut(c.message, most), last_message=_cut(c.last_message, most)) for c in all_)
        for all_ in (one.init, one.containers)
    )
    return replace(one, message=_cut(one.message, most), containers=containers, init=init)


def _is_long(one: ContainerReport) -> bool:
    return max(len(one.message), len(one.last_message)) > TOLD_LENGTH


def _cut(text: str, most: int = TOLD_LENGTH) -> str:
    return text if len(text) <= most else text[: most - 4] + " ..."
