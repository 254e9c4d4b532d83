"""The scenes as makers print them whose routers no package of Debian has: written by hand after their documentation,
one function for each form. The truth is the scenes'.

Addresses are for documentation; the wording of a form is the maker's.
"""

from collections.abc import Callable

from tests.recorded.routes import written_cisco, written_junos, written_others
from tests.recorded.routes.words import WIDE

FORMS: dict[str, tuple[str, Callable[[int], str], tuple[int, ...]]] = {
    "junos-brief": ("junos", written_junos.junos_brief, (4, 6)),
    "junos-terse": ("junos", written_junos.junos_terse, (4,)),
    "junos-detail": ("junos", written_junos.junos_detail, (4, 6)),
    "junos-json": ("junos", written_junos.junos_json, (4, 6)),
    "ios-entry": ("ios", written_cisco.ios_entry, (4, 6)),
    "ios-table": ("ios", written_cisco.ios_table, (4, 6)),
    "ios-xr-entry": ("ios-xr", written_cisco.xr_entry, (4, 6)),
    "nx-os-entry": ("nx-os", written_cisco.nxos_entry, (4, 6)),
    "nx-os-table": ("nx-os", written_cisco.nxos_table, (4, 6)),
    "eos-entry": ("eos", written_cisco.eos_entry, (4, 6)),
    "eos-table": ("eos", written_cisco.eos_table, (4,)),
    "eos-json": ("eos", written_cisco.eos_json, (4, 6)),
    "bird3-all": ("bird", written_others.bird3, (4, 6)),
    "sros-table": ("sros", written_others.sros_table, (4, 6)),
    "sros-detail": ("sros", written_others.sros_detail, (4, 6)),
    "vrp-entry": ("vrp", written_others.vrp_entry, (4, 6)),
    "vrp-table": ("vrp", written_others.vrp_table, (4,)),
    "routeros7-detail": ("routeros", written_others.routeros7, (4, 6)),
    "routeros6-detail": ("routeros", written_others.routeros6, (4,)),
}


def texts() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """All written texts by name: their maker, what they say, and the scenes that they leave out."""
    return {
        f"{form}-v{version}": (maker, write(version), WIDE if form in ("ios-table", "nx-os-table", "vrp-table") else ())
        for form, (maker, write, versions) in FORMS.items()
        for version in versions
    }
