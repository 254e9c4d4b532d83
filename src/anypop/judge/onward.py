"""How traffic for an address goes on from the PoP where it came in: by the hosts' own last reports.

In: an anycast address, the hosts of a PoP with their orders and reports. Out: for each of them its own share and those
that it sends to other hosts, and the same in sentences. A host whose report is missing or too old proves nothing, and
is told as that. Pure.
"""

from collections.abc import Callable, Iterable, Mapping

from anypop.model.announce import Address
from anypop.model.backbone import Onward, Share
from anypop.model.names import CityCode, HostName
from anypop.model.plan import HostPlan
from anypop.model.report import Report


def onward(
    address: Address,
    parts: Iterable[HostPlan],
    reports: Mapping[HostName, Report],
    pop_of: Callable[[HostName], CityCode],
) -> tuple[Onward, ...]:
    """One entry for each host of a PoP. `reports`: those that may be believed."""
    found = []
    for part in parts:
        report = reports.get(part.host)
        if report is None:
            found.append(Onward(host=part.host, known=False, local=0))
            continue
        sent = next((c for c in report.carried if c.address == address), None)
        if sent is None:
            holders = {i.uid for i in part.instances if address in i.anycast}
            serves = any(i.healthy_in(address.version) for i in report.instances if i.uid in holders)
            found.append(Onward(host=part.host, known=True, local=1 if serves else 0))
            continue
        up = {t.host for t in report.tunnels if t.up}
        shares = tuple(
            Share(host=host, pop=pop_of(host), share=share, up=host in up) for host, share in sent.shares if share
        )
        found.append(Onward(host=part.host, known=True, local=sent.local, shares=shares, kept=sent.kept))
    return tuple(found)


def sentences(pop: CityCode, found: Iterable[Onward]) -> list[str]:
    """The second half of the way, for people."""
    return [_sentence(pop, one) for one in found]


def _sentence(pop: CityCode, one: Onward) -> str:
    name = f"host {one.host}" if one.host != HostName(pop) else "its host"
    if not one.known:
        return f"In {pop}: {name} has not reported of late, so how it passes packets on is not known."
    total = one.local + sum(share.share for share in one.shares)
    if not total:
        return f"In {pop}: {name} neither serves the address nor carries it anywhere."
    if not one.shares:
        return f"In {pop}: {name} serves the address itself."
    sent = ", ".join(
        f"{_percent(s.share, total)} by tunnel to {s.host}{'' if s.host == HostName(s.pop) else f' in {s.pop}'}"
        f"{'' if s.up else ' (which is down)'}"
        for s in one.shares
    )
    kept = f"serves {_percent(one.local, total)} of the new connections itself and sends" if one.local else "sends"
    dial = f", since {pop} is dialled to {one.kept} %" if one.kept is not None else ""
    return f"In {pop}: {name} {kept} {sent}{dial}."


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.0f} %"
