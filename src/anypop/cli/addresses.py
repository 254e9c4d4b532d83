"""Allocations, claims and addresses on the command line: tables, documents of files, and who has an address.

In: rows of control's, documents, or an address. Out: tables, requests of the Workload API, sentences. It decides
nothing.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from anypop.cli import views
from anypop.cli.call import Call
from anypop.cli.failure import usage
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.model.names import slug_of

MEMBERS = {"allocation": "allocations", "allocationClaim": "allocation_claims"}
_OF_CONTROL = ("id", "stackId", "status")
_TOLD = ("version", "createdAt", "updatedAt", "deleteRequestedAt", "resourceName")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One document of a file: `member` says of which kind."""

    where: str
    member: str
    slug: str
    document: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{'allocation' if self.member == 'allocation' else 'claim'} {self.slug}"

    @property
    def wish(self) -> dict[str, Any]:
        """Without what control says of the one that was read: its version, say, is not the one that is meant."""
        metadata = {k: v for k, v in (self.document.get("metadata") or {}).items() if k not in _TOLD}
        return self.document | ({"metadata": metadata} if "metadata" in self.document else {})


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def owner_lines(call: Call, address: str) -> None:
    """Who has it, and why."""
    found = call.client.get(f"/anypop/v1/addresses/{address}", what=f"why {address}")
    keys = ("kind", "stack", "workload", "instance", "host", "pop", "allocation", "claim")
    told: list[list[Cell]] = [[key, views.text(found[key])] for key in keys if found.get(key)]
    call.screen.result(found, lambda: [f"{found['address']} {found['says']}.", "", views.pairs(told)])


def of_document(found: Any, where: str) -> Kept | None:
    """An allocation or a claim, wrapped as the API has it or as `get -o yaml` prints it; None: it is something else."""
    if not isinstance(found, dict):
        return None
    spec = found.get("spec") if isinstance(found.get("spec"), dict) else {}
    if "ipFamily" in (spec or {}):
        found = {"allocation" if "allocationClass" in (spec or {}) else "allocationClaim": found}
    member = next((m for m in MEMBERS if isinstance(found.get(m), dict)), None)
    if member is None:
        return None
    document = {key: value for key, value in found[member].items() if key not in _OF_CONTROL}
    slug = str(document.get("slug") or slug_of(str(document.get("name") or "")))
    if not slug:
        raise usage(f"{where}: has neither a name nor a slug")
    return Kept(where=where, member=member, slug=slug, document=document | {"slug": slug})


def path_of(call: Call, member: str, slug: str = "") -> str:
    return f"{call.stack_path('ipam')}/{MEMBERS[member]}" + (f"/{slug}" if slug else "")


def there(call: Call, one: Kept) -> views.Data | None:
    """What is there by its slug."""
    rows = call.client.every(path_of(call, one.member), what=f"list {MEMBERS[one.member]}")
    return next((row for row in rows if row.get("slug") == one.slug), None)


def allocations_table(rows: list[views.Data]) -> Table:
    columns = [
        Column(head="ALLOCATION"), Column(head="ADDRESS"), Column(head="CLASS", drop=2), Column(head="POLICY", drop=1),
        Column(head="CLAIM"), Column(head="STATE"),
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [
            (views.text(row.get("slug")), "bold"),
            views.text((row.get("status") or {}).get("prefix") or "-"),
            views.text(str((row.get("spec") or {}).get("allocationClass")).rpartition("/")[2]),
            views.text(_policy(row)),
            _holder(row, "Claimed"),
            _state(row),
        ]
        for row in rows
    ]
    return Table(columns=columns, rows=cells, empty="no allocations")


def claims_table(rows: list[views.Data]) -> Table:
    columns = [
        Column(head="CLAIM"), Column(head="ADDRESS"), Column(head="POLICY", drop=1), Column(head="INSTANCE"),
        Column(head="STATE"),
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [
            (views.text(row.get("slug")), "bold"),
            views.text((row.get("status") or {}).get("prefix") or "-"),
            views.text(_policy(row)),
            views.text(((row.get("status") or {}).get("resourceBinding") or {}).get("name") or "-"),
            _state(row),
        ]
        for row in rows
    ]
    return Table(columns=columns, rows=cells, empty="no claims")


def _policy(row: views.Data) -> str:
    policy = (row.get("spec") or {}).get("reclaimPolicy") or {}
    return " ".join(filter(None, (str(policy.get("action") or ""), str(policy.get("idleRetentionPeriod") or ""))))


def _conditions(row: views.Data) -> list[views.Data]:
    return (row.get("status") or {}).get("conditions") or []


def _holder(row: views.Data, kind: str) -> str:
    held = next((c for c in _conditions(row) if c.get("type") == kind and str(c.get("status")).endswith("TRUE")), None)
    words = str((held or {}).get("message") or "").removeprefix("claim ").partition(" ")[0]
    return views.text(words or "-")


def _state(row: views.Data) -> Cell:
    """What does not hold of what ought to; nobody needs to claim or to use it."""
    wrong = [
        str(c.get("message"))
        for c in _conditions(row)
        if c.get("type") in ("Allocated", "Usable", "Bound") and str(c.get("status")).endswith("FALSE")
    ]
    leaving = (row.get("metadata") or {}).get("deleteRequestedAt")
    words: Shown | str = views.text("; ".join(wrong) or ("is being deleted" if leaving else "ready"))
    return (str(words), "yellow" if wrong or leaving else "green")
