"""What a PoP's edge router forwards, as an nftables table: text for `nft`. The same text serves on an operator's own
edge router (docs/hosts.md).

Beside `edge`, which says what it tells and takes by BGP. In: its `EdgeConfig`. Out: the text; loading it twice is
loading it once. Pure. An edge router has the routes of all its upstreams: without this an upstream that sends it
anything gets it carried to another one.
"""

from collections.abc import Sequence
from ipaddress import collapse_addresses

from anypop.lab.edge import EdgeConfig
from anypop.model.announce import Prefix

TABLE = "anypop_edge"


def render(config: EdgeConfig) -> str:
    """The whole table."""
    uplinks = ", ".join(f'"{name}"' for name in sorted({u.interface for u in config.upstreams}))
    ours4, ours6 = _ranges((*config.anycast4, config.external4)), _ranges((*config.anycast6, config.external6))
    return "\n".join(
        [
            f"table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  chain forward {",
            "    type filter hook forward priority filter; policy accept;",
            "    # what upstreams send is for our own prefixes, and goes to our hosts",
            f"    iifname {{ {uplinks} }} ip daddr != {{ {ours4} }} counter drop",
            f"    iifname {{ {uplinks} }} ip6 daddr != {{ {ours6} }} counter drop",
            "  }",
            "}",
            "",
        ]
    )


def _ranges(prefixes: Sequence[Prefix]) -> str:
    """nft refuses ranges that overlap."""
    return ", ".join(str(p) for p in collapse_addresses(set(prefixes)))  # type: ignore[type-var]
