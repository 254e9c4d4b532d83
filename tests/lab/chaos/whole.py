"""Whether a platform is as declared: every program, every instance, every session, every answer.

In: a platform and what is wanted of it. Out: one line for each thing that is not so. `repair` is `anypop up`.
"""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from anypop.host import inventory, netns
from anypop.lab import build, platform, vantage
from tests.lab.chaos.shell import OneByOne

ENOUGH = 5  # silent addresses: each one more costs a second


def repair(place: platform.Platform) -> None:
    """`anypop up` on what is left."""
    if place.dead() or not build.attach(place.state / "lab").whole():
        platform.up(
            place.topology, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=lambda _: None
        )


def lacks(place: platform.Platform, wanted: Mapping[str, int]) -> list[str]:
    """What keeps the platform from being as `wanted` (workload: instances): one line each; nothing when it has
    converged.

    Each program runs, once; each instance runs, and its own address and the anycast address answer from every vantage;
    nothing else is there.
    """
    found = [f"{program} does not run" for program in place.dead()]
    found += doubles(place)
    if found:
        return found
    try:
        return _declared(place, wanted)
    except AssertionError as error:  # the command line failed: control has just been started anew, say
        return [f"control does not answer: {error}"]


def _declared(place: platform.Platform, wanted: Mapping[str, int]) -> list[str]:
    shell = OneByOne(place=place)
    found, addresses, uids = [], [], 0
    listed = {w["slug"] for w in shell.json("workload", "list")}
    found += [f"workload {slug} is there" for slug in listed - set(wanted)] + [
        f"workload {slug} is missing" for slug in set(wanted) - listed
    ]
    for slug in sorted(listed & set(wanted)):
        instances = shell.json("instances", slug)
        if len(instances) != wanted[slug]:
            found.append(f"{slug} has {len(instances)} instances")
        uids += len(instances)
        for instance in instances:
            if instance["phase"] != "RUNNING":
                found.append(f"{instance['name']} is {instance['phase']}: {instance['reason']} {instance['message']}")
            addresses += [instance["externalIpAddress"], *anycast_of(instance["networkInterfaces"][0])]
    if len(netns.names(f"{place.prefix}-i-")) != uids:
        found.append(f"namespaces of instances: {netns.names(f'{place.prefix}-i-')}")
    for pop in shell.json("pops"):
        if (
            not pop["trusted"]
            or pop.get("drift")
            or pop.get("orphans")
            or any(s["state"] != "established" for s in pop["sessions"])
        ):
            found.append(f"PoP {pop}")
    if not found:
        lab = build.attach(place.state / "lab")
        for source in lab.plan.vantages:
            for address in sorted(set(addresses)):
                (answer,) = vantage.probe(source, address, requests=1, timeout_s=1)
                if not answer.ok:
                    found.append(f"{address} does not answer {source.name}: {answer.error}")
                if len(found) >= ENOUGH:
                    return found
    return found


def anycast_of(link: Mapping[str, Any]) -> list[str]:
    """Of an instance's link, in both families."""
    return [*link.get("ipAddressAliases", []), *link.get("ipv6AddressAliases", [])]


def doubles(place: platform.Platform) -> list[str]:
    """Programs that run more than once."""
    return [f"{words} runs {count} times" for words, count in _programs(place).items() if count > 1]


def _programs(place: platform.Platform) -> Counter[str]:
    """How often each of the platform's long-lived programs runs, by what it runs with."""
    home = os.fsencode(place.state)
    found: Counter[str] = Counter()
    for _, words in inventory.command_lines():
        program = next(
            (w for w in words if w in (b"anypop.api", b"anypop.agent", b"anypop.lab.wire", b"anypop.lab.supervisor")),
            None,
        )
        mine = any(word == home or word.startswith(home + b"/") for word in words)
        if program is not None and mine and b"--teardown" not in words and words[0] != b"nsenter":
            state = next((w for w in words if w.startswith(home)), b"")
            found[f"{program.decode()} {state.decode()}"] += 1
    return found
