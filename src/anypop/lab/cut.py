"""Cutting a PoP off, silently: every packet between it and its upstreams vanishes, and both ends go on believing that their link is up.

As when a fibre is cut behind a media converter. The rule sits in the upstreams' namespaces, so the PoP's own firewall is untouched and its
agent cannot see it. The state is the rule itself: it survives us, and whoever attaches to the lab finds it.
"""

from collections.abc import Iterator

from anypop.host import netns, process
from anypop.lab.address import LabPlan, Role
from anypop.model.errors import Invalid, WorldError


def cut(plan: LabPlan, city: str) -> None:
    """Cut the PoP in `city` off. Raises `Invalid` where there is no PoP there."""
    for namespace, interface in _far_ends(plan, city):
        table = _table(city)
        rules = (
            f"add table inet {table}\ndelete table inet {table}\n"
            f"table inet {table} {{\n"
            f" chain in {{ type filter hook prerouting priority -500; iifname {interface} drop; }}\n"
            f" chain out {{ type filter hook postrouting priority 500; oifname {interface} drop; }}\n"
            "}\n"
        )
        process.run(netns.command(namespace, "nft", "-f", "-"), stdin=rules)


def restore(plan: LabPlan, city: str) -> None:
    """Undo `cut`; harmless where nothing was cut."""
    for namespace, _ in _far_ends(plan, city):
        if _there(namespace, city):
            process.run(netns.command(namespace, "nft", "delete", "table", "inet", _table(city)))


def is_cut(plan: LabPlan, city: str) -> bool:
    return all(_there(namespace, city) for namespace, _ in _far_ends(plan, city))


def _far_ends(plan: LabPlan, city: str) -> Iterator[tuple[str, str]]:
    site = next((s for s in plan.sites if s.pop.city == city), None)
    if site is None:
        cities = ", ".join(s.pop.city for s in plan.sites)
        raise Invalid.one("city", f"no PoP is in {city!r}; there are {cities}")
    for link in plan.links:
        if link.role is Role.UPSTREAM and link.a.netns == site.netns:
            yield link.b.netns, link.b.interface


def _table(city: str) -> str:
    return f"anypop_cut_{city.lower()}"


def _there(namespace: str, city: str) -> bool:
    try:
        process.run(netns.command(namespace, "nft", "list", "table", "inet", _table(city)))
    except WorldError:
        return False
    return True
