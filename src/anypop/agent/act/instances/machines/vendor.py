"""The boot hook of a guest: at each of its starts, what cloud-init does not do for an instance here. Pure.

In: an incarnation and its machine. Out: a script for /bin/sh, in the form in which cloud-init runs it early. It puts
external and anycast addresses on the loopback, says from which address the guest speaks, mounts volumes, keeps names,
and lets servers by UDP answer from the address that was asked. It does what `network.namespaces`, `network.inside` and
`own_files` do for a container. Done twice it changes nothing; what the guest's image cannot do is told on its console.
"""

import shlex
from collections.abc import Iterator

from anypop.agent.act.instances.own_files import hosts_text, resolv_conf_text
from anypop.agent.act.network.further_links import BACK_PREFERENCE, BACK_TABLES
from anypop.agent.act.network.inside import answers_kept
from anypop.agent.act.network.namespaces import own_addresses, ways_out
from anypop.agent.decide.inside import Inside, InsideWay, whole_inside
from anypop.agent.naming import INSIDE_TABLE, METADATA4, disk_serial, inside_mac
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

_HEAD = """\
#cloud-boothook
#!/bin/sh
# By the host of this instance, at each start.
tell() { echo "anypop: $*" >/dev/console; }
# block FILE: the end of FILE, ours, anew from what comes in
block() {
\ttouch "$1" && sed -i '/^# anypop begin$/,/^# anypop end$/d' "$1" &&
\t{ echo '# anypop begin'; cat; echo '# anypop end'; } >>"$1"
}
"""
_FIND = """\
# card MAC: the name of the network card with this hardware address
card() {
\tfor link in /sys/class/net/*; do
\t\t[ "$(cat "$link/address")" = "$1" ] && echo "${link##*/}" && return
\tdone
\ttell "no network card has the hardware address $1"
\treturn 1
}
nic=$(card %s) || exit 1
# where no ICMP error arrives at all, TCP finds the MTU of the way out by itself
echo 1 >/proc/sys/net/ipv4/tcp_mtu_probing
ip link set lo up
"""
_ROUTE6 = """\
# route6 ROUTE: while the kernel still looks whether somebody else has an address, a second or two, no route can have it
# as its source: such a route is tried again beside
route6() {
\tip -6 route replace "$@" 2>/dev/null && return
\t{
\t\tleft=20
\t\tuntil ip -6 route replace "$@"; do
\t\t\tleft=$((left - 1))
\t\t\t[ $left -gt 0 ] || { tell "there is no route to $1 by IPv6"; break; }
\t\t\tsleep 0.5 || sleep 1
\t\tdone
\t} </dev/null >/dev/null 2>&1 &
}
"""
_VOLUME = """\
# volume SERIAL FOLDER: mounted there; a disk that holds nothing yet gets a file system
volume() {
\tdisk=
\tfor one in /sys/block/*; do
\t\t[ "$(cat "$one/serial" 2>/dev/null)" = "$1" ] && disk=/dev/${one##*/}
\tdone
\t[ -n "$disk" ] || { tell "no disk has the serial number $1"; return; }
\tmkdir -p "$2"
\tif grep -q "^$disk " /proc/mounts || mount -t ext4 "$disk" "$2" 2>/dev/null; then
\t\t! command -v resize2fs >/dev/null || resize2fs "$disk" >/dev/null 2>&1
\t\treturn
\tfi
\tif [ "$(head -c 69632 "$disk" | tr -d '\\000' | wc -c)" != 0 ]; then
\t\ttell "the disk $1 holds something that is no ext4: it is left alone"
\telif command -v mkfs.ext4 >/dev/null; then
\t\tmkfs.ext4 -q "$disk" && mount -t ext4 "$disk" "$2"
\telse
\t\tmke2fs "$disk" >/dev/null && mount -t ext4 "$disk" "$2"
\tfi || tell "the disk $1 could not be mounted at $2"
}
"""
_READY = f"""\
# when all else was started: the host is told
if [ -d /var/lib/cloud ]; then
\tmkdir -p /var/lib/cloud/scripts/per-boot
\tcat >/var/lib/cloud/scripts/per-boot/anypop-ready <<'ANYPOP'
#!/bin/sh
# beside, since user data is run after this
{{
\t! command -v cloud-init || cloud-init status --wait
\tcurl -sf -m 5 -X POST http://{METADATA4}/ready ||
\t\twget -q -T 5 -O /dev/null --post-data=ready http://{METADATA4}/ready ||
\t\tpython3 -c "import urllib.request as u; u.urlopen('http://{METADATA4}/ready', b'ready', 5)" ||
\t\techo 'anypop: the host could not be told that this guest is ready' >/dev/console
}} </dev/null >/dev/null 2>&1 &
ANYPOP
\tchmod 755 /var/lib/cloud/scripts/per-boot/anypop-ready
fi
"""


def vendor_data(instance: InstanceOrder, container: Container, *, mac: str) -> str:
    """`mac`: of the guest's network card."""
    text = _HEAD + _ROUTE6 + _FIND % shlex.quote(mac)
    text += "\n".join([*_network(instance), *_further(instance), ""])
    text += _udp(whole_inside(instance))
    text += _names(instance)
    if container.mounts:
        text += _VOLUME
        text += "".join(
            f"volume {shlex.quote(disk_serial(mount.claim))} {shlex.quote(mount.path)}\n" for mount in container.mounts
        )
    return text + _READY + "exit 0\n"


def _network(instance: InstanceOrder) -> Iterator[str]:
    for own in own_addresses(instance):
        yield f"ip -{own.version} addr replace {own}/{own.max_prefixlen} dev lo"
    for reached, address, source in ways_out(instance):
        to = str(reached) if reached.prefixlen else "default"
        # IPv6 has no metric 0, and the default route that the image makes by `seed` is to come behind it
        metric = " metric 512" if reached.version == 6 and not reached.prefixlen else ""
        yield f'{_replaced(reached.version)} {to} via {address.gateway} dev "$nic"{metric} src {source}'
    inside = whole_inside(instance)
    for way in inside.ways:
        if way.interface == 0:
            yield _way(way)
    if inside.passes:  # as far as its kernel goes; what else a gateway does is its own
        yield "echo 1 >/proc/sys/net/ipv4/ip_forward"
        yield "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
    if (private := instance.private(4)) is not None:
        yield f'ip -4 route replace {METADATA4}/32 dev "$nic" scope link src {private}'


def _further(instance: InstanceOrder) -> Iterator[str]:
    """Interfaces beside the first one, as `network.further_links` makes them for a container: addresses, the subnets of
    its network, and a way back for what was asked at one of them.
    """
    ways = whole_inside(instance).ways
    for n, link in enumerate(instance.links[1:], 1):
        yield f"if nic=$(card {inside_mac(instance.uid, n).hex(':')}); then"
        # a link of two: nobody to collide with, and nobody who tells of routes
        yield 'for what in accept_dad accept_ra; do echo 0 >"/proc/sys/net/ipv6/conf/$nic/$what"; done'
        yield 'ip link set "$nic" up'
        for one in link.addresses:
            version = one.private.version
            own = [(one.private, one.private.max_prefixlen - 1)]
            own += [(one.vpc, one.vpc.max_prefixlen)] if one.vpc is not None else []
            for address, bits in own:
                yield f'ip -{version} addr replace {address}/{bits} dev "$nic"'
            yield f'ip -{version} route replace default via {one.gateway} dev "$nic" table {BACK_TABLES + n}'
            for address, _ in own:
                rule = f"from {address} table {BACK_TABLES + n} priority {BACK_PREFERENCE}"
                yield f"ip -{version} rule del {rule} 2>/dev/null; ip -{version} rule add {rule}"
        for subnet in link.reach:
            here = link.of(subnet.version)
            if here is not None and here.vpc is not None:
                yield f'{_replaced(subnet.version)} {subnet} via {here.gateway} dev "$nic" src {here.vpc}'
        yield from (_way(way) for way in ways if way.interface == n)
        yield "fi"


def _way(way: InsideWay) -> str:
    return f'{_replaced(way.prefix.version)} {way.prefix} via {way.gateway} dev "$nic" src {way.source}'


def _replaced(version: int) -> str:
    """The beginning of a route that names its source."""
    return "route6" if version == 6 else "ip -4 route replace"


def _udp(inside: Inside) -> str:
    """The guest's own firewall and connection tracking are its own: nothing is exempted from them here."""
    if not inside.udp:
        return ""
    rules = "".join(f"\t\t{rule}\n" for one in inside.udp for rule in answers_kept(one))
    return f"""\
if command -v nft >/dev/null; then
\tnft -f - <<'ANYPOP' || tell 'answers by UDP are not kept to the address that was asked: nft has refused it'
table inet {INSIDE_TABLE}
delete table inet {INSIDE_TABLE}
table inet {INSIDE_TABLE} {{
\tchain translated {{
\t\ttype nat hook prerouting priority dstnat;
{rules}\t}}
}}
ANYPOP
\techo 10 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
else
\ttell 'without nft, who is asked by UDP at an anycast address has to answer from it by himself'
fi
"""


def _names(instance: InstanceOrder) -> str:
    """/etc/hosts, and /etc/resolv.conf where no program of the guest makes that."""
    hosts = "".join(f"{line}\n" for line in hosts_text(instance).splitlines() if "localhost" not in line.split())
    return f"""\
block /etc/hosts <<'ANYPOP'
{hosts}ANYPOP
if [ ! -L /etc/resolv.conf ] && ! grep -v '^# anypop' /etc/resolv.conf 2>/dev/null | grep -q '^nameserver'; then
\tblock /etc/resolv.conf <<'ANYPOP'
{resolv_conf_text(instance)}ANYPOP
fi
"""
