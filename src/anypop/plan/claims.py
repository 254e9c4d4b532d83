"""Volumes as a workload asks for them: understood whole, or refused with the path.

In: a checked body and the operator's rules. Out: the claims that containers mount, each container's mounts, and a
problem for each thing that cannot be done. Between two revisions: what may not change under a volume that is there.
"""

from collections.abc import Iterable, Iterator

from anypop.model.confinement import InstanceRules
from anypop.model.errors import Problem
from anypop.model.names import slug_of
from anypop.model.volume import DEFAULT_CLASS, LEAST_BYTES, Claim, Mount
from anypop.model.workload import Workload
from anypop.plan import schema
from anypop.plan.quantity import memory_bytes

_CLAIMS = "spec.volumeClaimTemplates"
# the kernel's and the runtime's own: what lay there would hide from a process what it cannot live without
_TAKEN = ("/proc", "/sys", "/dev", "/run/.containerenv", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
_MOST_BYTES = 1 << 50


def claims(body: schema.WorkloadBody) -> tuple[Claim, ...]:
    """Those that some container mounts, by their slugs."""
    mounted = {m.claim for _, container in schema.every_unit(body) for m in mounts(container)}
    return tuple(
        Claim(slug=slug, size_bytes=memory_bytes(_storage(claim)), storage_class=_class(claim))
        for claim in sorted(body.spec.volume_claim_templates or (), key=slug_for)
        if (slug := slug_for(claim)) in mounted
    )


def mounts(container: schema.Unit) -> tuple[Mount, ...]:
    return tuple(
        Mount(claim=m.slug, path=_plain(m.mount_path))
        for m in sorted(container.volume_mounts or (), key=lambda m: m.mount_path)
    )


def slug_for(claim: schema.VolumeClaim) -> str:
    """Its slug, or what its name makes."""
    return claim.slug or slug_of(claim.name or "")


def refusals(body: schema.WorkloadBody, rules: InstanceRules) -> Iterator[Problem]:
    """One problem for each thing that cannot be done."""
    known, seen = {DEFAULT_CLASS, *(c.name for c in rules.storage_classes)}, set[str]()
    for n, claim in enumerate(body.spec.volume_claim_templates or ()):
        path, slug = f"{_CLAIMS}[{n}]", slug_for(claim)
        if not slug:
            yield Problem(path=f"{path}.slug", message="is required (or a name that a slug can be made of)")
        elif slug in seen:
            yield Problem(path=f"{path}.slug", message=f"{slug} is there already")
        seen.add(slug)
        if not _storage(claim):
            yield Problem(path=f"{path}.spec.resources.requests.storage", message='is required: a size, as "10Gi"')
        elif not LEAST_BYTES <= memory_bytes(_storage(claim)) <= _MOST_BYTES:
            message = f"must be {LEAST_BYTES >> 20}Mi to {_MOST_BYTES >> 40}Ti"
            yield Problem(path=f"{path}.spec.resources.requests.storage", message=message)
        if _class(claim) not in known:
            message = f"there is no storage class {_class(claim)}; there are {', '.join(sorted(known))}"
            yield Problem(path=f"{path}.spec.storageClass", message=message)
    for path, container in schema.every_unit(body):
        yield from _mounts(f"{path}.volumeMounts", container, seen)


def _mounts(path: str, container: schema.Unit, known: set[str]) -> Iterator[Problem]:
    places: dict[str, int] = {}
    for n, mount in enumerate(container.volume_mounts or ()):
        here, place = f"{path}[{n}]", _plain(mount.mount_path)
        if mount.slug not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there are none"
            message = f"no volume claim {mount.slug} in {_CLAIMS}; {there}"
            yield Problem(path=f"{here}.slug", message=message)
        if not mount.mount_path.startswith("/") or place == "/" or ".." in place.split("/"):
            yield Problem(path=f"{here}.mountPath", message="must be an absolute path below /, without ..")
        elif any(f"{place}/".startswith(f"{taken}/") or taken.startswith(f"{place}/") for taken in _TAKEN):
            message = f"would hide what every process needs ({', '.join(_TAKEN)})"
            yield Problem(path=f"{here}.mountPath", message=message)
        if places.setdefault(place, n) != n:
            yield Problem(path=f"{here}.mountPath", message=f"is that of volumeMounts[{places[place]}] too")


def _plain(path: str) -> str:
    """A path without what says nothing: `/srv//data/` is `/srv/data`."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def unmounted(body: schema.WorkloadBody) -> Iterator[Problem]:
    """Claims that have no effect."""
    mounted = {m.claim for _, container in schema.every_unit(body) for m in mounts(container)}
    for n, claim in enumerate(body.spec.volume_claim_templates or ()):
        if slug_for(claim) not in mounted:
            yield Problem(path=f"{_CLAIMS}[{n}]", message="no container mounts it, so no volume is made")


def changed_badly(before: Iterable[Claim], after: Workload) -> Iterator[Problem]:
    """What a volume that is there cannot follow: it never shrinks, and moves to no other class. `before`: claims of the
    revision before, or of volumes that are there.
    """
    was = {claim.slug: claim for claim in before}
    for claim in after.volumes:
        old = was.get(claim.slug)
        if old is not None and claim.size_bytes < old.size_bytes:
            message = f"{claim.slug} cannot shrink (it has {old.size_bytes} bytes); claim another volume beside it"
            yield Problem(path=_CLAIMS, message=message)
        if old is not None and claim.storage_class != old.storage_class:
            message = f"{claim.slug} stays in class {old.storage_class}; claim another volume beside it"
            yield Problem(path=_CLAIMS, message=message)


def _storage(claim: schema.VolumeClaim) -> str:
    resources = claim.spec.resources if claim.spec is not None else None
    return (resources.requests.storage if resources is not None and resources.requests is not None else None) or ""


def _class(claim: schema.VolumeClaim) -> str:
    return (claim.spec.storage_class if claim.spec is not None else None) or DEFAULT_CLASS
