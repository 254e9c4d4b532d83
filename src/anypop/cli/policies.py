"""`anypop policy ...`: who may send what to the instances of a stack, and what they may send.

In: a policy's name, or a file. Out: requests of the Workload API, and policies as tables and sentences. Whether a
policy is right is control's answer.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.declaration import documents_of, named
from anypop.cli.failure import usage
from anypop.cli.options import Yes
from anypop.cli.table import Cell, Column, Piece, Table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Who may send what to instances, and what they may send."
)

Policy = Annotated[str, typer.Argument(metavar="POLICY", help="By slug or id.")]


def path_of(call: Call, policy: str = "") -> str:
    return f"{call.stack_path('ipam')}/network_policies" + (f"/{policy}" if policy else "")


@command(app, "list", examples="anypop policy list\nanypop policy list -o json")
def list_policies(call: Call) -> None:
    """The network policies of the stack, in the order in which they are asked."""
    found = call.client.every(path_of(call), what="list network policies")
    call.screen.result(found, lambda: [table(found)])


@command(app, "show", examples="anypop policy show front-door")
def show(call: Call, policy: Policy) -> None:
    """One network policy, rule by rule."""
    found = call.client.get(path_of(call, policy), what=f"show network policy {policy}")["networkPolicy"]
    call.screen.result(found, lambda: [table([found]), "", *lines(found)])


@command(app, "apply", examples="anypop policy apply -f policy.yaml\nanypop policy apply -f - --yes < policy.json")
def apply(
    call: Call,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A policy as YAML or JSON; '-': standard input.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Create the policy of a file, or bring the one that is there to it. Connections that it no longer allows end."""
    if file is None:
        raise usage("--file is required", advice="'anypop policy apply -f policy.yaml'; '-' reads standard input.")
    document = _document(file)
    slug = str(document.get("slug") or document.get("name") or "")
    if not slug:
        raise usage("the policy has neither a name nor a slug", advice="Give it a name.")
    known = call.client.every(path_of(call), what=f"apply network policy {slug}")
    there = next((p for p in known if slug in (p.get("slug"), p.get("name"))), None)
    done = "changed" if there else "created"
    call.screen.agree(f"{'Change' if there else 'Create'} network policy {slug}?", yes=yes)
    if there is None:
        answer = call.client.call(
            "POST", path_of(call), what=f"create network policy {slug}", body={"networkPolicy": document}
        )
    else:
        version = (there.get("metadata") or {}).get("version")
        body = {**document, "metadata": {**(document.get("metadata") or {}), "version": version}}
        answer = call.client.call(
            "PUT", path_of(call, str(there["id"])), what=f"change network policy {slug}", body={"networkPolicy": body}
        )
        if (answer["networkPolicy"].get("metadata") or {}).get("version") == version:
            done = "as it was"
    found = answer["networkPolicy"]
    call.screen.result(found, lambda: [f"network policy {found.get('slug')} is {done}", *lines(found)])


def _document(file: Path) -> views.Data:
    """The policy in a file, with or without the outer "networkPolicy"."""
    found = documents_of(file)
    document = found[0] if len(found) == 1 else None
    if isinstance(document, dict) and isinstance(document.get("networkPolicy"), dict):
        document = document["networkPolicy"]
    if not isinstance(document, dict):
        raise usage(f"{named(file)} holds no policy", advice="It is an object with name and spec; docs/api.md has it.")
    return document


@command(app, "delete", examples="anypop policy delete front-door --yes")
def delete(call: Call, policy: Policy, *, yes: Yes = False) -> None:
    """Take a network policy away: what it alone allowed ends, what it alone blocked begins."""
    found = call.client.get(path_of(call, policy), what=f"delete network policy {policy}")["networkPolicy"]
    call.screen.agree(f"Delete network policy {found.get('slug')}?", yes=yes)
    call.client.call("DELETE", path_of(call, str(found["id"])), what=f"delete network policy {policy}")
    gone = {"policy": found.get("slug"), "id": found.get("id"), "gone": True}
    call.screen.result(gone, lambda: [f"network policy {found.get('slug')} is gone"])


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="PRIORITY", right=True),
        Column(head="POLICY"),
        Column(head="APPLIES TO"),
        Column(head="INGRESS", right=True),
        Column(head="EGRESS", right=True),
        Column(head="VERSION", right=True, drop=2),
    ]
    rows: list[list[Cell]] = [
        [
            views.text((p.get("spec") or {}).get("priority")),
            (views.text(p.get("slug")), "bold"),
            _whom(p.get("spec") or {}) or "every instance",
            _rules(p, "ingress", "INGRESS", "blocks all"),
            _rules(p, "egress", "EGRESS", "allows all"),
            views.text((p.get("metadata") or {}).get("version")),
        ]
        for p in found
    ]
    return Table(columns=columns, rows=rows, empty="no network policy: in is denied but to open ports, out is allowed")


def _rules(policy: views.Data, member: str, kind: str, nothing: str) -> str:
    spec = policy.get("spec") or {}
    if found := spec.get(member):
        return f"{len(found)} rules" if len(found) > 1 else "1 rule"
    return nothing if kind in (spec.get("policyTypes") or ()) else "-"


def lines(policy: views.Data) -> list[list[Piece]]:
    """Each rule as a sentence, in the order in which they are asked."""
    spec = policy.get("spec") or {}
    found: list[list[Piece]] = []
    for member, other, way in (("ingress", "from", "in"), ("egress", "to", "out")):
        for rule in spec.get(member) or ():
            allows = rule.get("action") == "ALLOW"
            words = f" {way}: {_protocols(rule)} {other} {_peers(rule.get(other) or {})}"
            why = f" ({rule['description']})" if rule.get("description") else ""
            found.append([("allow" if allows else "block", "green" if allows else "red"), (words + why, "")])
    return found


def _protocols(rule: views.Data) -> str:
    told = []
    for name, ports in (rule.get("protocols") or {}).items():
        to, source = (ports or {}).get("destinationPorts") or (), (ports or {}).get("sourcePorts") or ()
        text = {"tcpUdp": "tcp and udp"}.get(name, name)
        text += f" {', '.join(map(str, to))}" if to else ""
        told.append(text + (f" sent from {', '.join(map(str, source))}" if source else ""))
    return ", ".join(told) or "everything"


def _peers(peers: views.Data) -> str:
    told = [
        str(block.get("cidr")) + (f" without {', '.join(block['except'])}" if block.get("except") else "")
        for block in peers.get("ipBlock") or ()
    ]
    whom = _whom(peers)
    return ", ".join([*told, *([f"instances where {whom}"] if whom else [])]) or "everybody"


def _whom(part: views.Data) -> str:
    selectors: list[Any] = [*(part.get("instanceSelectors") or ()), *(part.get("networkSelectors") or ())]
    return " and ".join(
        f"{s.get('key')} {s.get('operator')} {', '.join(map(str, s.get('values') or ()))}".strip() for s in selectors
    )
