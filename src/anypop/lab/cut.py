"""Cutting a PoP off from its upstreams, or a host from its PoP's edge router, silently: every packet between them
vanishes, and both ends go on believing that their link is up.

As when a fibre is cut behind a media converter. The rule sits at the far end, so what is cut off has its own firewall
untouched and its agent cannot see it. The state is the rule itself: it survives us, and whoever attaches to the lab
finds it.
"""

from collections.abc import Iterator

from anypop.host import netns, process
from anypop.lab.address import LabPlan, Role, host_netns
from anypop.model.errors import Invalid, WorldError


def names(plan: LabPlan) -> Iterator[str]:
    """What can be cut off: PoPs by their cities (LHR), hosts behind an edge router by their names (LHR-1)."""
    for site in plan.sites:
        yield site.pop.city
        if site.edge is not None:
            yield from (host.name for host in site.pop.hosts)


def cut(plan: LabPlan, name: str) -> None:
    """Cut a PoP or a host off. Raises `Invalid` where there is none of that name."""
    for namespace, interface in _far_ends(plan, name):
        table = _table(name)
        rules = (
            f"add table inet {table}\ndelete table inet {table}\n"
            f"table inet {table} {{\n"
            f" chain in {{ type filter hook prerouting priority -500; iifname {interface} drop; }}\n"
            f" chain out {{ type filter hook postrouting priority 500; oifname {interface} drop; }}\n"
            "}\n"
        )
        process.run(netns.command(namespace, "nft", "-f", "-"), stdin=rules)


def restore(plan: LabPlan, name: str) -> None:
    """Undo `cut`; harmless where nothing was cut."""
    for namespace, _ in _far_ends(plan, name):
        if _there(namespace, name):
            process.run(netns.command(namespace, "nft", "delete", "table", "inet", _table(name)))


def is_cut(plan: LabPlan, name: str) -> bool:
    return all(_there(namespace, name) for namespace, _ in _far_ends(plan, name))


def _far_ends(plan: LabPlan, name: str) -> Iterator[tuple[str, str]]:
    if name not in names(plan):
        raise Invalid.one("name", f"no PoP or host is called {name!r}; there are {', '.join(names(plan))}")
    here = host_netns(plan.prefix, name)
    for link in plan.links:
        if link.role in (Role.UPSTREAM, Role.EDGE) and link.a.netns == here:
            yield link.b.netns, link.b.interface


def _table(name: str) -> str:
    return f"anypop_cut_{name.lower().replace('-', '_')}"


def _there(namespace: str, name: str) -> bool:
    try:
        process.run(netns.command(namespace, "nft", "list", "table", "inet", _table(name)))
    except WorldError:
        return False
    return True
