"""/anypop/v1/.../announcements: how far each announcement of a workload's anycast prefixes goes, shown and changed.

In: rules as the operator writes them (PoP, upstream by name or AS number, scope; the scope is read by `scopes`). Out:
every prefix x PoP x upstream with its rule, what holds in effect and whether it is really out there by the last report;
after a change, the difference. Also as a stream, at each change (server-sent events).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse

from anypop.api.bodies import JsonObject
from anypop.api.context import AnnouncedStack, AskingCaller, CallerAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.announcements import Announcements, RulesRequest
from anypop.api.scopes import scope_from
from anypop.api.told import LongestS, stream
from anypop.control import declare
from anypop.control.accounts import Account
from anypop.control.blame import because, dark, failing, is_carried, is_silent
from anypop.control.sharing import Shared, shared_with_others
from anypop.control.state import Declaration, State
from anypop.judge.announced import announced
from anypop.model.announce import Prefix, Scope, ScopeRule
from anypop.model.errors import Invalid, Problem
from anypop.model.limits import LONGEST_NOTE
from anypop.model.names import CityCode
from anypop.model.network import Network, Upstream
from anypop.model.order_since import does_not_know, unknown_in
from anypop.model.plan import HostPlan
from anypop.model.reasons import Reason
from anypop.model.scopes import scope_data
from anypop.plan.edge_scopes import heard
from anypop.routing.tenant_communities import refusal

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}/announcements", tags=["announcements"])

Rules = dict[tuple[CityCode, str], ScopeRule]

# why a prefix may be out of a PoP for somebody's health
_FOR_HEALTH = frozenset({Reason.GRANTED, Reason.NO_HEALTHY_INSTANCE, Reason.FAMILY_SILENT, Reason.NOT_CARRIED})

WorkloadId = Annotated[str, Path(description="id or slug")]
RulesBody = Annotated[dict[str, Any], Depends(JsonObject(RulesRequest))]


@router.get("")
@answers(Announcements)
async def list_announcements(
    workload_id: WorkloadId, stack: AnnouncedStack, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """List every prefix x PoP x upstream of a workload, and its rules."""
    return _listed(platform, account, platform.core.state, platform.workload(stack, workload_id))


@router.get("/watch")
@answers(Announcements, media_type="text/event-stream")
async def watch_announcements(
    *,
    workload_id: WorkloadId,
    stack: AnnouncedStack,
    caller: AskingCaller,
    platform: PlatformDep,
    longest_s: LongestS = 0,
) -> StreamingResponse:
    """Watch the announcements of a workload.

    Server-sent events: `announcements` with all of them at once and after each change, `gone` when the workload is not
    there any more; `ended`, with why, when the caller may watch no longer; a comment is a sign of life.
    """
    found = platform.workload(stack, workload_id)

    def look() -> dict[str, Any] | None:
        state = platform.core.state
        declared = state.workloads.get(found.id)
        return _listed(platform, caller.account, state, declared) if declared is not None else None

    return await stream(platform, caller, "announcements", look, longest_s=longest_s)


@router.put("")
@answers(Announcements, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def replace_rules(
    workload_id: WorkloadId, stack: AnnouncedStack, account: CallerAccount, platform: PlatformDep, body: RulesBody
) -> dict[str, Any]:
    """Set these rules and no others."""
    declared = platform.workload(stack, workload_id)
    rules = parsed_rules(body, declared, platform.core.state.network, tenant=not account.operator)
    return await _set(platform, account, declared, rules, beside=False)


@router.patch("")
@answers(Announcements, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def merge_rules(
    workload_id: WorkloadId, stack: AnnouncedStack, account: CallerAccount, platform: PlatformDep, body: RulesBody
) -> dict[str, Any]:
    """Set these rules beside the others; each replaces the one for the same PoP and upstream."""
    declared = platform.workload(stack, workload_id)
    rules = parsed_rules(body, declared, platform.core.state.network, tenant=not account.operator)
    return await _set(platform, account, declared, rules, beside=True)


@router.delete("")
@answers(Announcements, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def reset_rules(
    workload_id: WorkloadId, stack: AnnouncedStack, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """Announce plainly everywhere again."""
    return await _set(platform, account, platform.workload(stack, workload_id), {}, beside=False)


async def _set(
    platform: Platform, account: Account, declared: Declaration, wanted: Rules, *, beside: bool
) -> dict[str, Any]:
    """`beside`: the other rules stay."""
    before = _rules(platform.core.state, declared)
    step = declare.set_rules(declared.id, wanted.values(), beside=beside)
    state = await platform.core.change(platform.scoping(step, account, declared.id))
    after = _rules(state, declared)
    changes = [
        {"pop": pop, "upstream": upstream, "before": scope_data(old), "after": scope_data(new)}
        for pop, upstream in sorted({*before, *after})
        if (old := _scope_of(before.get((pop, upstream)))) != (new := _scope_of(after.get((pop, upstream))))
    ]
    return {"changes": changes, **_listed(platform, account, state, declared)}


def _listed(platform: Platform, account: Account, state: State, declared: Declaration) -> dict[str, Any]:
    rules = _rules(state, declared)
    listed = {
        "results": list(_rows(state, declared, rules)),
        "rules": [
            {"pop": r.pop, "upstream": r.upstream, "scope": scope_data(r.scope), "note": r.note} for r in rules.values()
        ],
    }
    found = shared_with_others(state, declared.id)
    return listed | ({"shared": [shared_data(platform, account, one) for one in found]} if found else {})


def shared_data(platform: Platform, account: Account, found: Shared) -> dict[str, Any]:
    """A prefix with addresses of several accounts; who they are is for the operator alone."""
    told: dict[str, Any] = {"prefix": str(found.prefix)}
    if account.operator:
        told["workloads"] = [
            {
                "account": platform.accounts.name_of(d.workload.account_id),
                "stack": d.workload.stack_slug,
                "workload": d.workload.slug,
            }
            for d in found.workloads
        ]
    return told


def rows_of(state: State, declared: Declaration) -> list[dict[str, Any]]:
    """Every prefix x PoP x upstream of a workload, as they are listed."""
    return list(_rows(state, declared, _rules(state, declared)))


def _rows(state: State, declared: Declaration, rules: Rules) -> Iterator[dict[str, Any]]:
    held = state.anycast.get(declared.id)
    if held is None or state.plan is None:
        return
    rows: dict[tuple[Prefix, CityCode, str], dict[str, Any]] = {}
    in_the_dark = dark(state, declared.id)
    for host in state.plan.sites.in_order({*state.plan.tellers(held.prefix4), *state.plan.tellers(held.prefix6)}):
        part = state.plan.hosts[host]
        for told in part.announcements:
            if told.prefix not in (held.prefix4, held.prefix6):
                continue
            for upstream, scope in heard(state.network, host, told):
                rule = rules.get((part.pop, upstream.name))
                received = state.reports.get(host)
                report = received.report if received is not None else None
                out, reason = announced(told, scope, state.verdict.hosts.get(host), report)
                failed = failing(state, host, told.prefix) if not out and reason in _FOR_HEALTH else ()
                carried = is_carried(state, told.prefix)
                why = f": {because(failed, declared, carried=carried)}" if failed else ""
                if reason is Reason.OLDER_AGENT:
                    why = f": {host}: {does_not_know(unknown_in(told, state.understands(host)))}"
                mute = out and is_silent(state, host, declared.id, told.prefix)
                is_dark = out and (mute or part.pop in in_the_dark)
                reason = Reason.FAMILY_SILENT if mute else Reason.DARK if is_dark else reason
                row = {
                    "prefix": str(told.prefix),
                    "pop": part.pop,
                    "upstream": upstream.name,
                    "asn": upstream.asn,
                    "scope": scope_data(_scope_of(rule)),
                    "effective": scope_data(scope),
                    "note": rule.note if rule is not None else "",
                    "announced": out,
                    "reason": reason.value,
                    "says": f"{reason.says}{why}",
                    "dark": is_dark,
                    "carried_to": _carried_to(state, part, declared) if carried else None,
                }
                # hosts behind one edge router speak for the PoP together: it is out when one of them says it
                known = rows.setdefault((told.prefix, part.pop, upstream.name), row)
                if out:
                    known |= row
    yield from rows.values()


def _carried_to(state: State, part: HostPlan, declared: Declaration) -> CityCode | None:
    """The PoP to which a host without an instance carries a workload's traffic while all is well: the nearest."""
    assert state.plan is not None
    homes = state.plan.homes_of(declared.id)
    if part.pop in homes.pops or part.backbone is None:
        return None
    near = ((peer.distance_km, str(peer.pop), peer.pop) for peer in part.backbone.peers if peer.host in homes.hosts)
    return min(near, default=(0, "", None))[2]


def _rules(state: State, declared: Declaration) -> Rules:
    return {(r.pop, r.upstream): r for _, r in sorted(state.rules_of(declared.id).items())}


def _scope_of(rule: ScopeRule | None) -> Scope:
    return rule.scope if rule is not None else Scope()


def parsed_rules(body: Mapping[str, Any], declared: Declaration, network: Network, *, tenant: bool) -> Rules:
    """The rules of a request. `tenant`: it is not the operator's. Raises `Invalid` with all their problems."""
    given = body.get("rules")
    if not isinstance(given, list):
        raise Invalid.one("rules", "is required: a list of {pop, upstream, scope, note}")
    problems: list[Problem] = []
    rules: Rules = {}
    for index, entry in enumerate(given):
        path = f"rules[{index}]"
        if not isinstance(entry, dict):
            problems.append(Problem(path=path, message="must be an object"))
            continue
        problems += [
            Problem(path=f"{path}.{key}", message="is not a field of a rule")
            for key in entry
            if key not in ("pop", "upstream", "scope", "note")
        ]
        upstream = _upstream(entry, path, network, problems)
        scope = scope_from(
            entry.get("scope"), f"{path}.scope", upstream.asn if upstream is not None else None, problems
        )
        if tenant and upstream is not None:
            problems += _not_for_tenants(scope, f"{path}.scope", upstream, network)
        note = entry.get("note") or ""
        if not isinstance(note, str):
            problems.append(Problem(path=f"{path}.note", message="must be text"))
        elif len(note) > LONGEST_NOTE:
            message = f"must have at most {LONGEST_NOTE} characters"
            problems.append(Problem(path=f"{path}.note", message=message))
        elif upstream is not None:
            key = (CityCode(entry["pop"]), upstream.name)
            if key in rules:
                problems.append(Problem(path=path, message=f"there is another rule for {key[0]} and {key[1]}"))
            rules[key] = ScopeRule(workload_id=declared.id, pop=key[0], upstream=key[1], scope=scope, note=note)
    if problems:
        raise Invalid(problems)
    return rules


def _not_for_tenants(scope: Scope, path: str, upstream: Upstream, network: Network) -> Iterator[Problem]:
    for community in scope.every_community:
        if why := refusal(community, upstream.asn, network.tenant_communities):
            field = {2: "communities", 3: "large_communities"}.get(len(community), "extended_communities")
            instead = f"see /anypop/v1/communities/{upstream.asn} for what it understands, or ask the operator"
            yield Problem(path=f"{path}.{field}", message=f"{why}: {instead}")


def _upstream(entry: Mapping[str, Any], path: str, network: Network, problems: list[Problem]) -> Upstream | None:
    """The upstream that a rule means: by its name in the PoP, or by its AS number where only one has it."""
    city, wanted = entry.get("pop"), entry.get("upstream")
    site = network.pop(CityCode(city)) if isinstance(city, str) else None
    if site is None:
        known = ", ".join(sorted(p.city for p in network.pops))
        problems.append(
            Problem(path=f"{path}.pop", message=f"no PoP {city} (there are {known})" if city else "is required")
        )
        return None
    text = str(wanted).lower() if isinstance(wanted, str | int) else ""
    named = [u for u in site.upstreams if u.name.lower() == text]
    numbered = [u for u in site.upstreams if text.removeprefix("as") == str(u.asn)]
    found = named or numbered
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{u.name} (AS{u.asn})" for u in site.upstreams)
    why = (
        f"{wanted} means {len(found)} upstreams of {city}, use the name"
        if found
        else f"{city} has no upstream {wanted}"
    )
    problems.append(Problem(path=f"{path}.upstream", message=f"{why} (it has {known})" if wanted else "is required"))
    return None
