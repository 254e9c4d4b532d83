"""Whether a session's address and a next hop are of one network: a hint that a route is external, where the text does
not say it. Two addresses in, a truth out. Pure.
"""

from ipaddress import ip_address, ip_network

from anypop.routing.paste.pasted import is_address

_PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def beside(source: str, hop: str) -> bool:
    """Whether both are one, or public ones of the same network: a route server and a member at an exchange. Those
    networks are a /20 or smaller, or a /64; loopbacks of backbones are mostly private (RFC 1918, RFC 4193).
    """
    if source == hop or not is_address(source) or not is_address(hop):
        return source == hop
    a, b = ip_address(source), ip_address(hop)
    if a.version != b.version or any(a in network for network in _PRIVATE if network.version == a.version):
        return False
    return int(a) >> (12 if a.version == 4 else 64) == int(b) >> (12 if b.version == 4 else 64)
