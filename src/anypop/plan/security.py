"""What a workload asks for in `securityContext`: understood whole, or refused with the path.

In: a checked body and the operator's rules. Out: for each container a `Security`, and a problem for each thing that
cannot be done, a registry that no image may come from among them. Nothing is accepted without effect. What is said for
all containers (`spec.runtime.containers`) holds where a container says nothing itself, as in Kubernetes.
"""

import re
from collections.abc import Iterator, Sequence

from anypop.model.confinement import CAPABILITIES, GIVEN, MOST_USERS, SYSCTLS, InstanceRules, Security
from anypop.model.errors import Problem
from anypop.model.registries import literal_refusal
from anypop.plan import schema

_FOR_ALL = "spec.runtime.containers.securityContext"
_LONGEST_LIST = 32


def security_of(declared: schema.Container, body: schema.WorkloadBody) -> Security:
    """What one container asks for; `refusals` has nothing against it."""
    own, common = declared.security_context or schema.SecurityContext(), _common(body)
    capabilities = own.capabilities or schema.Capabilities()
    return Security(
        user=own.run_as_user if own.run_as_user is not None else common.run_as_user,
        group=own.run_as_group if own.run_as_group is not None else common.run_as_group,
        groups=tuple(sorted(set(common.supplemental_groups or ()))),
        non_root=bool(own.run_as_non_root if own.run_as_non_root is not None else common.run_as_non_root),
        read_only=bool(own.read_only_root_filesystem),
        escalation=bool(own.allow_privilege_escalation),
        add=_names(capabilities.add),
        drop=_names(capabilities.drop),
        sysctls=tuple(sorted((s.name, " ".join((s.value or "").split())) for s in common.sysctls or ())),
    )


def refusals(body: schema.WorkloadBody, rules: InstanceRules) -> Iterator[Problem]:
    """One problem for each thing that cannot be done."""
    common = _common(body)
    yield from _users(_FOR_ALL, common.run_as_user, common.run_as_group)
    for n, group in enumerate(common.supplemental_groups or ()):
        yield from _user(f"{_FOR_ALL}.supplementalGroups[{n}]", group, "a group")
    if len(common.supplemental_groups or ()) > _LONGEST_LIST:
        yield Problem(path=f"{_FOR_ALL}.supplementalGroups", message=f"has more than {_LONGEST_LIST} groups")
    for n, sysctl in enumerate(common.sysctls or ()):
        yield from _sysctl(f"{_FOR_ALL}.sysctls[{n}]", sysctl)
    for place, container in schema.every_container(body):
        path, own = f"{place}.securityContext", container.security_context
        if own is not None:
            yield from _users(path, own.run_as_user, own.run_as_group)
            yield from _capabilities(f"{path}.capabilities", own.capabilities or schema.Capabilities(), rules)
        asked = security_of(container, body)
        if why := literal_refusal(container.image, rules.registries):
            yield Problem(path=f"{place}.image", message=why)
        if asked.non_root and asked.user == 0:
            yield Problem(path=f"{path}.runAsNonRoot", message="is true, and runAsUser is 0, which is root")
        if asked.group is not None and asked.user is None:
            where = path if own is not None and own.run_as_group is not None else _FOR_ALL
            yield Problem(path=f"{where}.runAsGroup", message="needs runAsUser beside it")


def _common(body: schema.WorkloadBody) -> schema.PodSecurityContext:
    runtime = body.spec.runtime.containers if body.spec.runtime is not None else None
    return (runtime and runtime.security_context) or schema.PodSecurityContext()


def _names(told: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted({_name(one) for one in told or ()}))


def _name(told: str) -> str:
    """CAP_NET_RAW, net_raw and NET_RAW are one."""
    return told.upper().removeprefix("CAP_")


def _users(path: str, user: int | None, group: int | None) -> Iterator[Problem]:
    yield from _user(f"{path}.runAsUser", user, "a user")
    yield from _user(f"{path}.runAsGroup", group, "a group")


def _user(path: str, number: int | None, what: str) -> Iterator[Problem]:
    if number is not None and number >= MOST_USERS:
        yield Problem(path=path, message=f"is {number}; {what} of an instance must be 0 to {MOST_USERS - 1}")


def _capabilities(path: str, asked: schema.Capabilities, rules: InstanceRules) -> Iterator[Problem]:
    may = sorted(GIVEN | set(rules.capabilities))
    dropped = set(_names(asked.drop))
    for n, told in enumerate(asked.add or ()):
        name = _name(told)
        if name in ("NET_RAW", "NET_ADMIN") and name not in may:
            message = f"{name} is not given: an instance's network is made for it, and raw sockets stay closed"
            yield Problem(path=f"{path}.add[{n}]", message=message)
        elif name not in may:
            message = f"{told[:40]!r} may not be added here; there are {', '.join(may)}"
            yield Problem(path=f"{path}.add[{n}]", message=message)
        elif name in dropped:
            yield Problem(path=f"{path}.add[{n}]", message=f"{name} is also in drop")
    for n, told in enumerate(asked.drop or ()):
        if _name(told) not in (*CAPABILITIES, "ALL"):
            yield Problem(path=f"{path}.drop[{n}]", message=f"{told[:40]!r} is no capability of Linux")


def _sysctl(path: str, asked: schema.NameValue) -> Iterator[Problem]:
    if asked.name not in SYSCTLS:
        message = f"{asked.name[:80]!r} cannot be set by a workload; there are {', '.join(sorted(SYSCTLS))}"
        yield Problem(path=f"{path}.name", message=message)
    elif not re.fullmatch(r"[0-9][0-9, \t-]{0,79}", asked.value or ""):
        yield Problem(path=f"{path}.value", message="must be a number, or two of them where it is a range")
