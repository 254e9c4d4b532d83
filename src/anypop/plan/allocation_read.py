"""From the JSON of an allocation or a claim to the noun.

In: the object inside `{"allocation": ...}` or `{"allocationClaim": ...}`, or a claim of a workload's assignment. Out:
what is wished for, with defaults filled in. Raises `Invalid`, or yields, every problem with its path. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from anypop.model import codec, limits
from anypop.model.allocation import (
    CITY,
    AddressClass,
    AddressSpec,
    Reclaim,
    ReclaimAction,
    Selector,
    Source,
    Words,
)
from anypop.model.errors import Invalid, Problem
from anypop.model.names import is_slug, slug_of
from anypop.plan import allocation_schema as schema
from anypop.plan.allocation_schema import FIELD_NAMES
from anypop.plan.policy_schema import LabelSelector, Part, PolicyMetadata

LENGTHS = {4: 32, 6: 128}
B = TypeVar("B", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationWish:
    """What a request says of an allocation. None: it does not say."""

    name: str
    slug: str
    spec: AddressSpec
    labels: Words | None
    annotations: Words | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWish:
    """What a request says of a claim."""

    name: str
    slug: str
    ip_version: int
    reclaim: Reclaim
    source: Source
    labels: Words | None
    annotations: Words | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a PATCH may change; what is None stays."""

    name: str | None
    reclaim: Reclaim | None
    labels: Words | None
    annotations: Words | None
    version: str


def read_allocation(body: Mapping[str, Any]) -> AllocationWish:
    """A new allocation. Raises `Invalid`."""
    checked = _checked(schema.AllocationBody, body)
    problems = [*_named(checked.name, checked.slug), *allocation_problems(checked.spec, "spec")]
    if problems:
        raise Invalid(problems)
    assert checked.spec is not None
    name, slug = _called(checked.name, checked.slug)
    return AllocationWish(
        name=name, slug=slug, spec=spec_of(checked.spec, ReclaimAction.RETAIN), labels=labels_of(checked.metadata),
        annotations=annotations_of(checked.metadata),
    )  # fmt: skip


def read_claim(body: Mapping[str, Any], *, stack: tuple[str, str]) -> ClaimWish:
    """A new claim. `stack`: its id and its slug. Raises `Invalid`."""
    checked = _checked(schema.ClaimBody, body)
    problems = [*_named(checked.name, checked.slug), *claim_problems(checked.spec, "spec", stack=stack)]
    if checked.spec is not None and checked.spec.allocation is None:
        problems.append(Problem(path="spec.allocation", message="is required: a name, a selector or a template"))
    if problems:
        raise Invalid(problems)
    assert checked.spec is not None
    name, slug = _called(checked.name, checked.slug)
    return ClaimWish(
        name=name, slug=slug, ip_version=version_of(checked.spec.ip_family),
        reclaim=reclaim_of(checked.spec.reclaim_policy, ReclaimAction.RETAIN),
        source=source_of(checked.spec.allocation), labels=labels_of(checked.metadata),
        annotations=annotations_of(checked.metadata),
    )  # fmt: skip


def read_change(
    kind: type[schema.AllocationBody] | type[schema.ClaimBody], body: Mapping[str, Any], shown: Mapping[str, Any]
) -> Change:
    """A change of an allocation or a claim. `shown`: how it is now, as clients see it: what is sent back as it was
    read changes nothing. Raises `Invalid` for what cannot be changed.
    """
    checked = _checked(kind, body)
    problems = []
    if checked.slug and checked.slug != shown["slug"]:
        problems.append(Problem(path="slug", message=f"cannot be changed (it is {shown['slug']})"))
    sent = checked.spec.model_dump(mode="json", by_alias=True, exclude_none=True) if checked.spec is not None else {}
    for field, value in sent.items():
        if field != "reclaimPolicy" and value not in ("", [], {}, 0) and value != shown["spec"].get(field):
            message = "cannot be changed: an address is what it is; make another one, and delete this one"
            problems.append(Problem(path=f"spec.{field}", message=message))
    if problems:
        raise Invalid(problems)
    given = checked.spec.reclaim_policy if checked.spec is not None else None
    return Change(
        name=checked.name or None,
        reclaim=reclaim_of(given, ReclaimAction.RETAIN) if given is not None and given.action else None,
        labels=labels_of(checked.metadata),
        annotations=annotations_of(checked.metadata),
        version=str((checked.metadata.version if checked.metadata is not None else None) or ""),
    )


def allocation_problems(spec: schema.AllocationSpec | None, path: str) -> Iterator[Problem]:
    """What is wrong with what is wished of an address."""
    if spec is None:
        yield Problem(path=path, message="is required")
        return
    if not spec.allocation_class:
        message = f"is required; it may be {' or '.join(schema.CLASSES)}"
        yield Problem(path=f"{path}.allocationClass", message=message)
    yield from _family(spec.ip_family, spec.prefix_length, path)
    for n, selector in enumerate(spec.selectors or ()):
        if selector.key != CITY:
            yield Problem(path=f"{path}.selectors[{n}].key", message=f"must be {CITY}: an address is in a city")


def claim_problems(spec: schema.ClaimSpec | None, path: str, *, stack: tuple[str, str]) -> Iterator[Problem]:
    """What is wrong with a claim, but for whether it says which allocation."""
    if spec is None:
        yield Problem(path=path, message="is required")
        return
    yield from _family(spec.ip_family, spec.prefix_length, path)
    if spec.allocation is None:
        return
    here = f"{path}.allocation"
    if spec.allocation.name:
        yield from _name(spec.allocation.name, f"{here}.name", stack)
    elif spec.allocation.selector is not None:
        if not spec.allocation.selector.allocation_class:
            message = f"is required; it may be {' or '.join(schema.CLASSES)}"
            yield Problem(path=f"{here}.selector.allocationClass", message=message)
    elif (template := spec.allocation.template) is not None:
        yield from allocation_problems(template.spec, f"{here}.template.spec")
        family = template.spec.ip_family if template.spec is not None else None
        if family and spec.ip_family and family != spec.ip_family:
            message = f"is {family}, and the claim's is {spec.ip_family}"
            yield Problem(path=f"{here}.template.spec.ipFamily", message=message)
    else:
        yield Problem(path=here, message="says neither name, selector nor template")


def _name(written: str, path: str, stack: tuple[str, str]) -> Iterator[Problem]:
    whose, _, slug = written.removeprefix("stacks/").replace("/allocations/", "/").rpartition("/")
    if not is_slug(slug):
        yield Problem(path=path, message=f"{written[:80]!r} names no allocation; write STACK/SLUG, or the slug alone")
    elif whose and whose not in stack:
        yield Problem(path=path, message=f"{whose[:80]!r} is another stack than {stack[1]}: claims are inside a stack")


def _family(family: str | None, length: int | None, path: str) -> Iterator[Problem]:
    if not family:
        yield Problem(path=f"{path}.ipFamily", message="is required; it may be IPv4 or IPv6")
    elif length and length != LENGTHS[version_of(family)]:
        message = f"is {length}; it must be {LENGTHS[version_of(family)]}: an allocation is one address"
        yield Problem(path=f"{path}.prefixLength", message=message)


def spec_of(spec: schema.AllocationSpec, by_default: ReclaimAction) -> AddressSpec:
    return AddressSpec(
        kind=AddressClass(spec.allocation_class or ""),
        version=version_of(spec.ip_family),
        reclaim=reclaim_of(spec.reclaim_policy, by_default),
        selectors=_selectors(spec.selectors),
    )


def source_of(declared: schema.ClaimAllocation | None) -> Source:
    if declared is None:
        return Source()
    if declared.name:
        return Source(name=declared.name.rpartition("/")[2], written=declared.name)
    if declared.selector is not None:
        kind = AddressClass(declared.selector.allocation_class or "")
        return Source(selector_kind=kind, selectors=_selectors(declared.selector.match_expressions))
    assert declared.template is not None and declared.template.spec is not None, "checked before"
    return Source(template=spec_of(declared.template.spec, ReclaimAction.DELETE))


def reclaim_of(declared: schema.ReclaimPolicy | None, by_default: ReclaimAction) -> Reclaim:
    if declared is None or not declared.action:
        return Reclaim(action=by_default)
    period = declared.idle_retention_period or ""
    return Reclaim(
        action=ReclaimAction(declared.action), period=period, idle_s=schema.seconds_of(period) if period else 0.0
    )


def version_of(family: str | None) -> int:
    return 6 if family == "IPv6" else 4


def labels_of(metadata: PolicyMetadata | None) -> Words | None:
    return _words(metadata.labels if metadata is not None else None)


def annotations_of(metadata: PolicyMetadata | None) -> Words | None:
    return _words(metadata.annotations if metadata is not None else None)


def _words(given: Mapping[str, str] | None) -> Words | None:
    return None if given is None else tuple(sorted(given.items()))


def _selectors(declared: list[LabelSelector] | None) -> tuple[Selector, ...]:
    return tuple(Selector(key=s.key, operator=s.operator, values=tuple(s.values or ())) for s in declared or ())


def _checked(kind: type[B], body: Mapping[str, Any]) -> B:
    limits.check(body)
    try:
        return kind.model_validate(_without_nulls(body))
    except ValidationError as error:
        raise Invalid(codec.in_words(error.errors(), FIELD_NAMES)) from error


def _named(name: str | None, slug: str | None) -> Iterator[Problem]:
    if not name and not slug:
        yield Problem(path="name", message="is required (or slug)")
    elif not slug and not is_slug(slug_of(name or "")):
        yield Problem(path="name", message=f"no slug can be made of {(name or '')[:80]!r}; give a slug")


def _called(name: str | None, slug: str | None) -> tuple[str, str]:
    return name or slug or "", slug or slug_of(name or "")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
