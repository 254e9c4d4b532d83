"""The kinds of things that `get`, `describe`, `watch` and `delete` know: their names, their rows, their tables.

In: a word as typed (`workload`, `workloads`, `wl`) and perhaps a name. Out: rows of control's, and the table of them. A
kind is one entry here; the verbs know none by name. Nothing here changes anything.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from anypop.cli import addresses, announcements, dials, drains, hosts, listings, policies, rollouts, views, volumes
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.table import Cell, Column, Table

Row = views.Data
Rows = list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`listed(call, workload)`: its rows; `workload` narrows them where `of_workload`. `key`: the member that is its
    name; `other`: members by which it is found, too. `deleted_at`: where a DELETE of one goes, if anywhere.
    """

    name: str
    plural: str
    short: Sequence[str] = ()
    about: str
    listed: Callable[[Call, str], Rows]
    table: Callable[[Rows], Table]
    key: str = "name"
    other: Sequence[str] = ("id",)
    of_workload: bool = False
    deleted_at: Callable[[Call, Row], str] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, self.plural, *self.short)

    def named(self, row: Row) -> str:
        return str(row.get(self.key) or "")


def _every(path: str) -> Callable[[Call, str], Rows]:
    """A list in pages."""
    return lambda call, _: call.client.every(path, what=f"list {path.rpartition('/')[2]}")


def _results(path: str) -> Callable[[Call, str], Rows]:
    """A list in one answer."""
    return lambda call, _: call.client.get(path, what=f"list {path.rpartition('/')[2]}").get("results") or []


def _of_stack(service: str, path: str) -> Callable[[Call, str], Rows]:
    def listed(call: Call, _: str) -> Rows:
        return call.client.every(f"{call.stack_path(service)}/{path}", what=f"list {path}")

    return listed


def _own(path: str) -> Callable[[Call, str], Rows]:
    """A list in one answer, of what is Anypop's own in a stack."""

    def listed(call: Call, _: str) -> Rows:
        return call.client.get(f"{call.stack_path('anypop')}/{path}", what=f"list {path}").get("results") or []

    return listed


workloads_of = _of_stack("workload", "workloads")


def slugs(call: Call, workload: str = "") -> list[str]:
    """All workloads of the stack by name, or the one that is meant."""
    return [workload] if workload else [str(w.get("slug") or w.get("id")) for w in workloads_of(call, "")]


def _instances(call: Call, workload: str) -> Rows:
    return [
        row
        for slug in slugs(call, workload)
        for row in views.by_name(call.client.every(f"{call.workload_path(slug)}/instances", what="list instances"))
    ]


def _of_each_workload(path: str) -> Callable[[Call, str], Rows]:
    def listed(call: Call, workload: str) -> Rows:
        found: Rows = []
        for slug in slugs(call, workload):
            answer = call.client.get(f"{call.workload_path(slug, 'anypop')}/{path}", what=f"list {path}")
            found += [{**({} if workload else {"workload": slug}), **row} for row in answer.get("results") or []]
        return found

    return listed


def _events(call: Call, _: str) -> Rows:
    return call.client.get("/anypop/v1/events", what="list events", limit=100).get("results") or []


def plain(*columns: tuple[str, str], empty: str) -> Callable[[Rows], Table]:
    """A table of members as they are: (head, member) for each."""

    def table(rows: Rows) -> Table:
        cells: list[list[Cell]] = [[_cell(name, row.get(name)) for _, name in columns] for row in rows]
        return Table(columns=[Column(head=head) for head, _ in columns], rows=cells, empty=empty)

    return table


def _cell(name: str, value: Any) -> Cell:
    if name.endswith("At") or name == "at":
        return views.moment(value)
    if name in ("status", "phase"):
        return views.phase(value)
    return views.text(", ".join(map(str, value)) if isinstance(value, list) else value)


def _workload_path(call: Call, row: Row) -> str:
    return call.workload_path(str(row.get("slug")))


_CREDENTIALS = "/identity/v1/users/me/credentials"

KINDS: tuple[Kind, ...] = (
    Kind(
        name="workload", plural="workloads", short=("wl",), about="what is declared, in the stack",
        listed=workloads_of, table=views.workloads, key="slug", deleted_at=_workload_path,
    ),
    Kind(
        name="instance", plural="instances", short=("in",), about="the running copies of workloads",
        listed=_instances, table=views.instances, of_workload=True,
    ),
    Kind(
        name="stack", plural="stacks", about="the account's stacks",
        listed=_every("/stack/v1/stacks"), key="slug",
        table=plain(("STACK", "slug"), ("NAME", "name"), ("STATUS", "status"), ("CREATED", "createdAt"), empty="none"),
    ),
    Kind(
        name="pop", plural="pops", about="the sites, and what they report",
        listed=_results("/anypop/v1/pops"), table=listings.pops_table, key="pop", other=("city",),
    ),
    Kind(
        name="host", plural="hosts", about="the machines of the PoPs, and their room",
        listed=_results("/anypop/v1/hosts"), table=hosts.table, key="host", other=(),
    ),
    Kind(
        name="rollout", plural="rollouts", short=("ro",), about="changes that went, or go, through the PoPs",
        listed=_of_each_workload("rollouts"), table=rollouts.table, key="id", of_workload=True,
    ),
    Kind(
        name="revision", plural="revisions", short=("rev",), about="the kept versions of workloads",
        listed=_of_each_workload("revisions"), key="revision", other=("template",), of_workload=True,
        table=plain(
            ("REVISION", "revision"), ("WORKLOAD", "workload"), ("CREATED", "createdAt"), ("IMAGES", "images"),
            ("NOTE", "note"), empty="no revisions",
        ),
    ),
    Kind(
        name="announcement", plural="announcements", short=("ann",), about="prefix by PoP by upstream",
        listed=_of_each_workload("announcements"), table=announcements.table, key="prefix",
        other=("pop", "upstream"), of_workload=True,
    ),
    Kind(
        name="drain", plural="drains", about="whose traffic is taken away",
        listed=_results("/anypop/v1/drains"), table=drains.table, key="target",
    ),
    Kind(
        name="dial", plural="dials", about="how much PoPs keep of their new connections",
        listed=_results("/anypop/v1/dials"), table=dials.table, key="pop", other=("workload",),
    ),
    Kind(
        name="network", plural="networks", short=("net",), about="which instances of the stack are among themselves",
        listed=_of_stack("ipam", "networks"), key="slug",
        table=plain(("NETWORK", "slug"), ("NAME", "name"), ("NUMBER", "virtualNetworkIdentifier"), empty="none"),
        deleted_at=lambda call, row: f"{call.stack_path('ipam')}/networks/{row.get('id')}",
    ),
    Kind(
        name="policy", plural="policies", short=("pol",), about="who may send what to instances",
        listed=_of_stack("ipam", "network_policies"), table=policies.table, key="slug",
        deleted_at=lambda call, row: policies.path_of(call, str(row.get("id"))),
    ),
    Kind(
        name="allocation", plural="allocations", short=("alloc",), about="addresses of the stack that last",
        listed=_of_stack("ipam", "allocations"), table=addresses.allocations_table, key="slug",
        deleted_at=lambda call, row: addresses.path_of(call, "allocation", str(row.get("slug"))),
    ),
    Kind(
        name="claim", plural="claims", about="who holds which allocation",
        listed=_of_stack("ipam", "allocation_claims"), table=addresses.claims_table, key="slug",
        deleted_at=lambda call, row: addresses.path_of(call, "allocationClaim", str(row.get("slug"))),
    ),
    Kind(
        name="volume", plural="volumes", short=("vol",), about="what instances keep",
        listed=_own("volumes"), table=volumes.table, key="id", other=("instance", "claim"),
    ),
    Kind(
        name="location", plural="locations", short=("loc", "city", "cities"), about="the cities that have a PoP",
        listed=_every("/workload/v1/locations"), key="cityCode", other=("name", "city"),
        table=plain(("CITY", "cityCode"), ("NAME", "city"), ("COUNTRY", "countryCode"), ("CONTINENT", "continent"),
                    ("STATUS", "status"), empty="no PoPs"),
    ),
    Kind(
        name="vantage", plural="vantages", about="places to test from",
        listed=_results("/anypop/v1/vantages"), table=listings.vantages_table,
    ),
    Kind(
        name="credential", plural="credentials", short=("cred",), about="who may call the API for this account",
        listed=_every(_CREDENTIALS), deleted_at=lambda _, row: f"{_CREDENTIALS}/{quote(str(row.get('id')), safe='')}",
        table=plain(("CREDENTIAL", "name"), ("CLIENT ID", "clientId"), ("ID", "id"), empty="none"),
    ),
    Kind(
        name="event", plural="events", short=("ev",), about="what happened lately",
        listed=_events, table=listings.events_table, key="id", other=("subject",),
    ),
)  # fmt: skip


def kind_of(word: str) -> Kind:
    """The kind that is meant. `Failure` with the nearest one where there is none of that name."""
    for kind in KINDS:
        if word.lower() in kind.words:
            return kind
    known = [name for kind in KINDS for name in kind.words]
    near = difflib.get_close_matches(word.lower(), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise usage(f"there is no kind '{word}'{hint}", advice=f"Kinds: {', '.join(kind.plural for kind in KINDS)}.")


def split(words: Sequence[str]) -> tuple[Kind, list[str]]:
    """`workload web api` and `workload/web workload/api`: the kind and the names."""
    if not words:
        raise usage("say of which kind", advice=f"Kinds: {', '.join(kind.plural for kind in KINDS)}.")
    if not any("/" in word for word in words[:1]):
        return kind_of(words[0]), list(words[1:])
    pairs = [word.partition("/") for word in words]
    kind = kind_of(pairs[0][0])
    wrong = [word for word, (of, _, name) in zip(words, pairs, strict=True) if not name or kind_of(of) is not kind]
    if wrong:
        raise usage(f"{', '.join(wrong)}: write KIND/NAME, all of one kind, as in {kind.name}/NAME")
    return kind, [name for _, _, name in pairs]


def chosen(call: Call, kind: Kind, names: Sequence[str], workload: str = "") -> Rows:
    """The rows meant, all where no name is given. `Failure` with the names that are not there."""
    if workload and not kind.of_workload:
        raise usage(f"{kind.plural} belong to no workload", advice="Leave --workload away.")
    rows = kind.listed(call, workload)
    if not names:
        return rows
    found: Rows = []
    missing = []
    for name in names:
        rows_here = [row for row in rows if kind.named(row).lower() == name.lower()]
        rows_here = rows_here or [row for row in rows if name in [str(row.get(key)) for key in kind.other]]
        if not rows_here and kind.key == "id" and len(name) > 2:
            rows_here = [row for row in rows if kind.named(row).startswith(name)]
        missing += [] if rows_here else [name]
        found += rows_here
    if missing:
        raise Failure(
            f"no {kind.name} {', '.join(missing)}",
            code=Exit.NOT_FOUND,
            advice=f"'anypop get {kind.plural}' lists them.",
        )
    return found
