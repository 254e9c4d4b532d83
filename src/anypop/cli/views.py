"""Control's answers as tables: workloads, instances, prices, places. Pure.

In: plain data as the API gives it. Out: `Table`s and sentences for `screen`. Missing fields show as "-": a control
process that is newer or older than this command line is never a crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from anypop.cli.declaration import ANYCAST
from anypop.cli.table import Cell, Column, Table
from anypop.model.reasons import Reason

Data = Mapping[str, Any]

_STYLES = {
    "RUNNING": "green",
    "STARTING": "yellow",
    "SCHEDULING": "dim",
    "DELETING": "dim",
    "STOPPED": "dim",
    "FAILED": "bold red",
    "ACTIVE": "green",
}


def text(value: object) -> str:
    return "-" if value is None or value in ("", (), []) else str(value)


def phase(value: object) -> Cell:
    shown = text(value)
    return shown, _STYLES.get(shown, "")


def moment(value: object) -> str:
    """An RFC 3339 time or seconds since the epoch as `2024-02-01 12:30:05`, UTC."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return text(value)[:19].replace("T", " ")


def anycast_of(workload: Data) -> list[str]:
    """The anycast addresses of a workload, from the annotation in which the API answers them."""
    subnets = str(((workload.get("metadata") or {}).get("annotations") or {}).get(f"{ANYCAST}/subnets") or "")
    return [part.strip().split("/")[0] for part in subnets.split(",") if part.strip()]


def cities_of(target: Data) -> list[str]:
    """Those that it names, each once; which others a selector stands for only control knows."""
    selectors = (((target.get("spec") or {}).get("deployments")) or {}).get("selectors") or []
    named = [[str(c) for c in s.get("values") or []] for s in selectors if str(s.get("operator")).lower() == "in"]
    return [city for city in dict.fromkeys(named[0]) if all(city in other for other in named)] if named else []


def replicas_of(target: Data) -> int:
    return int((((target.get("spec") or {}).get("deployments")) or {}).get("minReplicas") or 0)


def bounds(target: Data) -> str:
    """`2`, or `2 to 6` where their number follows their load."""
    declared = ((target.get("spec") or {}).get("deployments")) or {}
    most, metrics = declared.get("maxReplicas"), (declared.get("scaleSettings") or {}).get("metrics")
    return f"{replicas_of(target)} to {most}" if most and metrics else str(replicas_of(target))


def expected(workload: Data) -> int:
    """How many instances the workload asks for at least: replicas are per city; one city where a target names none."""
    targets = (workload.get("targets") or {}).values()
    return sum(replicas_of(target) * max(1, len(cities_of(target))) for target in targets)


def city_code(instance: Data) -> str:
    return text((instance.get("location") or {}).get("cityCode"))


def quote(found: Data) -> Table:
    """The price, line by line."""
    currency = text(found.get("currency"))
    rows: list[list[Cell]] = [
        [
            text(line["item"]),
            f"{line['quantity']} to {line['most']}" if line.get("most") else str(line["quantity"]),
            _money(line["unit_hourly"], 4),
            _money(line["hourly"], 4),
            _money(line["monthly"], 2),
        ]
        for line in found.get("lines") or []
    ]
    rows.append([("total", "bold"), "", "", _money(found["hourly"], 4), (_money(found["monthly"], 2), "bold")])
    if found.get("most_monthly") is not None:
        hour, month = _money(found["most_hourly"], 4), _money(found["most_monthly"], 2)
        rows.append([("at most, when the load asks for it", "bold"), "", "", hour, (month, "bold")])
    columns = [
        Column(head="ITEM"),
        Column(head="QUANTITY", right=True),
        Column(head="EACH/HOUR", right=True, drop=2),
        Column(head="HOUR", right=True, drop=1),
        Column(head=f"MONTH {currency}", right=True),
    ]
    return Table(columns=columns, rows=rows, foot=2 if found.get("most_monthly") is not None else 1)


def months(price: Data) -> str:
    """`65.70`, or `65.70 (at most 197.10)`."""
    most = f" (at most {price['most_monthly']:.2f})" if price.get("most_monthly") is not None else ""
    return f"{price.get('monthly') or 0:.2f}{most}"


def _money(value: float, places: int) -> str:
    return f"{value:,.{places}f}"


def workloads(found: Sequence[Data]) -> Table:
    columns = [
        Column(head="WORKLOAD"),
        Column(head="STATUS"),
        Column(head="TARGETS", drop=1),
        Column(head="INSTANCES", right=True),
        Column(head="ANYCAST"),
        Column(head="CREATED", drop=2),
    ]
    rows: list[list[Cell]] = [
        [
            text(w.get("slug")),
            phase("DELETING" if (w.get("metadata") or {}).get("deleteRequestedAt") else w.get("status")),
            targets(w),
            str(expected(w)),
            text(", ".join(anycast_of(w))),
            moment((w.get("metadata") or {}).get("createdAt")),
        ]
        for w in found
    ]
    return Table(
        columns=columns, rows=rows, empty="no workloads; 'anypop workload create --help' shows how to make one"
    )


def targets(workload: Data) -> str:
    return (
        " ".join(f"{name}={','.join(cities_of(target))}" for name, target in (workload.get("targets") or {}).items())
        or "-"
    )


def instances(found: Sequence[Data], *, title: str = "") -> Table:
    columns = [
        Column(head="INSTANCE"),
        Column(head="POP", drop=5),
        Column(head="PHASE"),
        Column(head="PRIVATE", drop=3),
        Column(head="EXTERNAL"),
        Column(head="EXTERNAL IPV6", drop=2),
        Column(head="STARTED", drop=4, maybe=True),
        Column(head="WHY", prose=True, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            text(i.get("name")),
            city_code(i),
            phase("DRAINED" if i.get("reason") == Reason.DRAINED else i.get("phase")),
            text(i.get("ipAddress") or i.get("ipv6Address")),
            text(i.get("externalIpAddress")),
            text(i.get("externalIpv6Address")),
            moment(i.get("startedAt")),
            why(i),
        ]
        for i in found
    ]
    return Table(columns=columns, rows=rows, empty="no instances", title=title)


def why(instance: Data) -> str:
    """Why it is not running; of one that is, what its host has to say beside that."""
    if instance.get("phase") == "RUNNING":
        return text(instance.get("message"))
    reason, message = str(instance.get("reason") or ""), str(instance.get("message") or "")
    says = Reason(reason).says if reason in set(Reason) else reason  # a newer control may know more reasons
    return text(": ".join(dict.fromkeys(part for part in (says, message) if part)))


def workload(found: Data) -> Table:
    """One workload as name and value."""
    metadata = found.get("metadata") or {}
    spec = found.get("spec") or {}
    rows: list[list[Cell]] = [
        ["workload", (text(found.get("slug")), "bold")],
        ["id", text(found.get("id"))],
        ["status", phase("DELETING" if metadata.get("deleteRequestedAt") else found.get("status"))],
        ["anycast", text(", ".join(anycast_of(found)))],
    ]
    units = [("container", name, one) for name, one in (spec.get("containers") or {}).items()]
    units += [("virtual machine", name, one) for name, one in (spec.get("virtualMachines") or {}).items()]
    for kind, name, container in units:
        asked = (container.get("resources") or {}).get("requests") or {}
        ports = ", ".join(
            f"{p.get('port')}/{str(p.get('protocol') or 'TCP').lower()}"
            for p in (container.get("ports") or {}).values()
        )
        rows.append([f"{kind} {name}", text(container.get("image"))])
        rows.append(["  asks for", f"{text(asked.get('cpu'))} vCPU, {text(asked.get('memory'))}"])
        if most := (container.get("resources") or {}).get("limits"):
            rows.append(["  at most", f"{text(most.get('cpu'))} vCPU, {text(most.get('memory'))}"])
        rows.append(["  ports", text(ports)])
    for name, target in (found.get("targets") or {}).items():
        rows.append([f"target {name}", f"{', '.join(cities_of(target))} x {bounds(target)}"])
    rows.append(["created", moment(metadata.get("createdAt"))])
    return pairs(rows)


def tunnels(row: Data) -> list[str]:
    """`3/4` tunnels up, and what was sent through all of them since each was made, in 10^9 bytes; `-` where there are
    none.
    """
    found = row.get("tunnels") or []
    if not found:
        return ["-", "-"]
    sent = sum(int(t.get("sent_bytes") or 0) for t in found)
    return [f"{sum(1 for t in found if t.get('up'))}/{len(found)}", f"{sent / 1e9:.2f}"]


def revision(status: Data, under_way: Sequence[Data]) -> list[str]:
    """`6 of 8 instances on revision 4`, and what is under way."""
    lines = [
        f"{status.get('instances_on_it', 0)} of {status.get('instances', 0)} instances on revision "
        f"{status.get('revision')}"
    ]
    lines += [f"rollout {str(r.get('id'))[:8]} is {r.get('phase')}: {r.get('says')}" for r in under_way]
    return lines


def pairs(rows: Sequence[Sequence[Cell]]) -> Table:
    """Name and value, without a visible head."""
    return Table(columns=[Column(head=""), Column(head="")], rows=rows)


def by_name(found: Iterable[Data]) -> list[Data]:
    return sorted(found, key=lambda row: str(row.get("name") or ""))
