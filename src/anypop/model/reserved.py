"""What nobody on the Internet may tell a way to: reserved prefixes and AS numbers, and how large and small prefixes
are.

Data for import filters of our speakers and of edge routers. Sources are named with each. Pure.
"""

# IANA's registries of special-purpose addresses (RFC 6890 and its updates), with all that is inside: nothing of it is
# reached over the Internet. IPv6: what lies outside of `GLOBAL6` is no global unicast at all.
RESERVED4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
RESERVED6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20")
GLOBAL6 = "2000::/3"
# 0 and 23456 never originate (RFC 7607, 6793); documentation, private use and the last number: RFC 5398, 6996, 7300
RESERVED_AS = "0, 23456, 64496..131071, 4200000000..4294967295"
LONGEST = {4: 24, 6: 48}  # what the Internet takes
SHORTEST = {4: 8, 6: 16}  # nobody was ever given more
DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


def bogon_sets(family: int) -> tuple[str, ...]:
    """BIRD's text for one family: the sets, and `is_bogon4()` or `is_bogon6()`, true of a route that nobody may tell.
    Each condition stands in brackets: BIRD 2 reads `&&` and `||` from left to right, and neither binds more tightly.
    """
    reserved = ", ".join(f"{prefix}+" for prefix in (RESERVED4 if family == 4 else RESERVED6))
    conditions = [
        f"(net ~ RESERVED{family})",
        *(["(net !~ GLOBAL6)"] if family == 6 else []),
        f"(net.len < {SHORTEST[family]})",
        f"(net.len > {LONGEST[family]})",
    ]
    return (
        *([f"define GLOBAL6 = [ {GLOBAL6}+ ];"] if family == 6 else []),
        f"define RESERVED{family} = [ {reserved} ];",
        f"function is_bogon{family}() {{ return {' || '.join(conditions)}; }}",
    )
