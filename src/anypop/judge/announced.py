"""Why an announcement is out, or is not: decided here, once, for every face.

In: one announcement as its host was told it, what we make of the host, and its last report. Out: whether its upstream
has it, and the reason. A host that is not to be believed proves nothing: then it counts as not out, with the reason why
nobody knows. Pure.
"""

from anypop.model.announce import Announcement, Mode, Scope
from anypop.model.order_since import unknown_in
from anypop.model.plan import HostVerdict
from anypop.model.reasons import Reason
from anypop.model.report import Report


def announced(
    told: Announcement, scope: Scope, verdict: HostVerdict | None, report: Report | None
) -> tuple[bool, Reason]:
    """The first line that holds decides: what is surely out; what was ordered not to be; the session; an address that
    the host can neither serve nor carry; the host's own reason.

    `scope`: what the network beyond hears of it; behind an edge router that may be less than what the edge router is
    told.
    """
    if verdict is None or not verdict.trusted or report is None:
        return False, verdict.reason if verdict is not None else Reason.NO_REPORT
    seen = next((p for p in report.prefixes if p.prefix == told.prefix), None)
    if seen is not None and seen.announced and told.upstream in seen.upstreams:
        return (False, Reason.WITHHELD) if scope.mode is Mode.WITHHOLD else (True, Reason.ANNOUNCED)
    if told.scope.mode is Mode.WITHHOLD:
        return False, Reason.WITHHELD
    if unknown_in(told, report.understands):
        return False, Reason.OLDER_AGENT
    family = told.prefix.version
    sessions = [s for s in report.sessions if s.upstream == told.upstream and s.family == family]
    if any(s.rests for s in sessions):
        return False, Reason.FLAP_COOLDOWN
    if sessions and not any(s.state == "established" for s in sessions):
        return False, Reason.SESSION_DOWN
    if seen is not None and seen.shut:
        return False, Reason.NOT_CARRIED
    return False, seen.reason if seen is not None and seen.reason is not Reason.ANNOUNCED else Reason.SCHEDULED
