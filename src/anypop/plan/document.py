"""The workload as clients may see it: what they sent, less secrets, without anything that they would take for drift.

In: a checked body. Out: plain data: null and empty values left out, `ipFamilies` written out, `resources` on every
container and virtual machine, capabilities kept even when empty. It must not fill in any other default, add labels, or
show a secret.
"""

from collections.abc import Mapping
from typing import Any

from anypop.model.names import slug_of
from anypop.model.plan import AnycastAddress
from anypop.plan.fields import SUBNETS, subnets
from anypop.plan.schema import WorkloadBody

# maps whose keys are the user's: an entry says something even when empty
_KEYED = frozenset({"env", "ports", "containers", "initContainers", "virtualMachines", "targets"})
_VERBATIM = frozenset({"labels", "annotations", "httpHeaders"})  # maps whose values are the user's, empty text included
_SERVERS_OWN = ("id", "stackId", "status")


def document_of(body: WorkloadBody, *, name: str, slug: str) -> dict[str, Any]:
    """The document, without the server's own fields."""
    data = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    for field in _SERVERS_OWN:
        data.pop(field, None)
    data["name"], data["slug"] = name, slug
    metadata = data.get("metadata", {})
    metadata.get("annotations", {}).pop(SUBNETS, None)  # ours to tell, also when it is sent back
    data["metadata"] = {key: metadata[key] for key in ("annotations", "labels") if metadata.get(key)}
    for container in _containers(data):
        for value in container.get("env", {}).values():
            value.pop("secretValue", None)
        capabilities = container.get("securityContext", {}).get("capabilities")
        if capabilities is not None:
            capabilities.update(add=capabilities.get("add", []), drop=capabilities.get("drop", []))
    for credentials in data["spec"].get("imagePullCredentials", ()):
        credentials["dockerRegistry"].pop("password", None)
    for interface in data["spec"].get("networkInterfaces", ()):
        interface["ipFamilies"] = interface.get("ipFamilies") or ["IPv4"]
    for claim in data["spec"].get("volumeClaimTemplates", ()):
        claim.pop("phase", None)
        claim["slug"] = claim.get("slug") or slug_of(claim.get("name", ""))
        metadata = claim.get("metadata", {})
        claim["metadata"] = {key: metadata[key] for key in ("annotations", "labels") if metadata.get(key)}
    shown: dict[str, Any] = _pruned(data)
    for claim in shown["spec"].get("volumeClaimTemplates", ()):
        claim.setdefault("spec", {})
        claim.setdefault("metadata", {})
    for unit in (*_containers(shown), *shown["spec"].get("virtualMachines", {}).values()):
        unit.setdefault("resources", {})
    return shown


def _containers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    return [*spec.get("containers", {}).values(), *spec.get("initContainers", {}).values()]


def document_with_anycast(
    document: Mapping[str, Any], addresses: AnycastAddress | None, *, dual_stack: bool
) -> dict[str, Any]:
    """`document` with the annotation that tells clients the anycast addresses, IPv4 first; unchanged without
    addresses.
    """
    if addresses is None:
        return dict(document)
    metadata = dict(document.get("metadata", {}))
    value = subnets(addresses.address4, addresses.address6 if dual_stack else None)
    metadata["annotations"] = dict(metadata.get("annotations", {})) | {SUBNETS: value}
    return dict(document) | {"metadata": metadata}


def _pruned(value: Any, under: str = "") -> Any:
    """Without null, empty text, empty lists and empty maps, except where they mean something."""
    if isinstance(value, list):
        return [_pruned(v) for v in value]
    if not isinstance(value, dict) or under in _VERBATIM or under == "capabilities":
        return value
    kept = {}
    for key, inner in value.items():
        less = _pruned(inner, key)
        if under in _KEYED or less not in (None, "", [], {}):
            kept[key] = less
    return kept
