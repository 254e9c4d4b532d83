"""Documents of version 0.1 in the form of today, so that a platform is taken over with everything that runs on it.

In: plain JSON data as 0.1 wrote it (orders, an agent's ledger page, the judge's memory). Out: the same facts as plain
JSON data that today's nouns are read from; data that is of today's form already is given back as it is. Pure; used by
the store's migration and by agents.
"""

from typing import Any

_REMOVALS = (
    ("was deleted", "workload-deleted"),
    ("was taken away", "target-removed"),
    ("was taken out of", "city-removed"),
    ("asks for", "scaled-down"),
)


def order(data: dict[str, Any]) -> dict[str, Any]:
    """An order. Hosts were PoPs then, and an instance's private link had the number of its place."""
    if "host" in data:
        return data
    return {
        **data,
        "host": data["pop"],
        "instances": [instance(one) for one in data.get("instances", ())],
        "removed": [removal(one) for one in data.get("removed", ())],
    }


def page(data: dict[str, Any]) -> dict[str, Any]:
    """An agent's ledger page: the order that it obeys and the instances on their way out."""
    leaving = [
        {"removal": removal(one["removal"]), "instance": instance(one["instance"]) if one.get("instance") else None}
        for one in data.get("leaving", ())
    ]
    return {"order": order(data["order"]), "leaving": leaving}


def instance(data: dict[str, Any]) -> dict[str, Any]:
    """One instance of an order: eight addresses become a link and a list of anycast addresses."""
    if "links" in data:
        return data
    addresses = [
        {"private": data[f"private{n}"], "gateway": data[f"gateway{n}"], "external": data[f"external{n}"]}
        for n in (4, 6)
    ]
    return {
        "name": data["name"],
        "uid": data["uid"],
        "workload_id": data["workload_id"],
        "links": [{"network": "default", "addresses": addresses}],
        "anycast": [data[key] for key in ("anycast4", "anycast6") if data.get(key)],
        "payload": {"kind": "containers", "containers": data["containers"]},
        "hosts_domain": data.get("hosts_domain", ""),
    }


def removal(data: dict[str, Any]) -> dict[str, Any]:
    """A token to take an instance down: its reason was a sentence."""
    if "link" in data:
        return data
    return {**data, "reason": removal_reason(data["reason"]), "detail": data["reason"], "link": data.get("index", -1)}


def removal_reason(text: str) -> str:
    """Today's reason for a sentence of then."""
    return next((value for part, value in _REMOVALS if part in text), "scaled-down")


def history(data: dict[str, Any]) -> dict[str, Any]:
    """The judge's memory: what was a PoP is a host."""
    return {**data, **{kind: [_with_host(one) for one in data.get(kind, ())] for kind in ("leaves", "bad")}}


def _with_host(data: dict[str, Any]) -> dict[str, Any]:
    return {"host" if key == "pop" else key: value for key, value in data.items()}
