"""The addresses that a workload's interface asks for: understood whole, or refused with the path.

In: a checked body. Out: the assignments, and a problem for each thing that cannot be done. What is not assigned an
instance has all the same: a private and an external address of each family, which go with it. Pure.
"""

from collections.abc import Collection, Iterator

from anypop.model.allocation import AddressClass, Assignment, Mode, ReclaimAction
from anypop.model.errors import Problem
from anypop.model.names import slug_of
from anypop.model.workload import Target
from anypop.plan import allocation_read, schema
from anypop.plan.allocation_schema import AssignmentBody

_PATH = "spec.networkInterfaces[0].assignments"
_WORDS = {
    "FORWARD": "no client says what is forwarded to where, and whether an instance has the address: use ADDITIONAL, by "
    "which it has a further external address",
}


def assignments(body: schema.WorkloadBody) -> tuple[Assignment, ...]:
    """Those of the first interface, in their order."""
    return tuple(_assignment(one) for one in _declared(body))


def refusals(body: schema.WorkloadBody, *, stack: tuple[str, str], targets: Collection[Target]) -> Iterator[Problem]:
    """One problem for each thing that cannot be done. `stack`: its id and its slug; `targets`: where instances are
    asked for.
    """
    for n, interface in enumerate((body.spec.network_interfaces or ())[1:], 1):
        if interface.assignments:
            path = f"spec.networkInterfaces[{n}].assignments"
            yield Problem(path=path, message="addresses are assigned to the first interface")
    seen: dict[tuple[str, int], int] = {}
    slugs: dict[str, int] = {}
    for n, one in enumerate(_declared(body)):
        path = f"{_PATH}[{n}]"
        if one.mode in _WORDS:
            yield Problem(path=f"{path}.mode", message=f"{one.mode}: {_WORDS[one.mode]}")
            continue
        template = one.allocation_claim_template
        if template is None:
            yield Problem(path=f"{path}.allocationClaimTemplate", message="is required")
            continue
        here = f"{path}.allocationClaimTemplate"
        problems = list(allocation_read.claim_problems(template.spec, f"{here}.spec", stack=stack))
        yield from problems
        if problems or template.spec is None:
            continue
        read = _assignment(one)
        if read.mode is not Mode.ADDITIONAL and (first := seen.get((read.mode, read.ip_version), 0)):
            message = f"assignments[{first - 1}] is the {one.mode} address of that family already"
            yield Problem(path=f"{path}.mode", message=message)
        seen.setdefault((read.mode, read.ip_version), n + 1)
        if slugs.setdefault(read.slug, n) != n:
            yield Problem(path=f"{path}.slug", message=f"{read.slug} is that of assignments[{slugs[read.slug]}] too")
        yield from _fits(read, here, body, targets)


def _fits(read: Assignment, path: str, body: schema.WorkloadBody, targets: Collection[Target]) -> Iterator[Problem]:
    kind = read.source.selector_kind or (read.source.template.kind if read.source.template is not None else None)
    if kind is not None and kind is not read.mode.kind:
        where = "template.spec" if read.source.template is not None else "selector"
        message = f"must be {read.mode.kind}: that is what a {read.mode} address is"
        yield Problem(path=f"{path}.spec.allocation.{where}.allocationClass", message=message)
    interfaces = body.spec.network_interfaces or ()
    if read.mode.kind is AddressClass.UNICAST and interfaces and interfaces[0].enable_one_to_one_nat is False:
        message = "enableOneToOneNat is false: instances have no external address that could be claimed"
        yield Problem(path=f"{path}", message=message)
    if not read.source.is_there and not read.base:
        yield Problem(path=f"{path}.spec.allocation", message="is required, or the slug of a claim that is there")
    # one address, and one claim of that name: the other instances would have none
    one = "claim" if not read.source.is_there else "allocation" if read.source.name else ""
    instances = sum(target.most * len(target.cities) for target in targets)
    cities = {city for target in targets for city in target.cities}
    template = read.source.template
    if template is not None and (outside := sorted(city for city in cities if not template.fits(city))):
        message = f"leave out {', '.join(outside)}, where instances are asked for: an address is where its instance is"
        yield Problem(path=f"{path}.spec.allocation.template.spec.selectors", message=message)
    if one and instances > 1:
        message = f"names one {one}, and the workload asks for {instances} instances: use a selector or a template"
        yield Problem(path=f"{path}.spec.allocation" if read.source.name else f"{path}.slug", message=message)


def _declared(body: schema.WorkloadBody) -> list[AssignmentBody]:
    interfaces = body.spec.network_interfaces or ()
    return list(interfaces[0].assignments or ()) if interfaces else []


def _assignment(declared: AssignmentBody) -> Assignment:
    template = declared.allocation_claim_template
    spec = template.spec if template is not None else None
    mode, version = Mode(declared.mode), allocation_read.version_of(spec.ip_family if spec is not None else None)
    base = (template.slug or slug_of(template.name or "")) if template is not None else ""
    return Assignment(
        slug=declared.slug or _plain_slug(mode, version),
        mode=mode,
        ip_version=version,
        base=base,
        reclaim=allocation_read.reclaim_of(spec.reclaim_policy if spec is not None else None, ReclaimAction.DELETE),
        source=allocation_read.source_of(spec.allocation if spec is not None else None),
        labels=(allocation_read.labels_of(template.metadata) if template is not None else None) or (),
        annotations=(allocation_read.annotations_of(template.metadata) if template is not None else None) or (),
    )


def _plain_slug(mode: Mode, version: int) -> str:
    """How an assignment is called that does not say so: primary-v4, one-to-one-nat-v6."""
    return f"{mode.value.lower().replace('_', '-')}-v{version}"
