"""The PoP's network in the kernel: namespaces, links, addresses, routes, next-hop groups, firewall.

Spoken in raw netlink (no process per change: a change takes tens of microseconds, a look at everything under a
millisecond), except nft. Everything made here carries our own protocol number or our own table's name, and nothing
else is ever touched.
"""
