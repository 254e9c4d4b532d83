"""Templates: what an instance's processes are made from, as one hash.

In: a workload and the platform's key. Out: a short hash that is the same for as long as no process has to be made anew:
images, commands, environment, secrets, resources and the families of the anycast address count; ports, probes, labels,
targets and replicas do not, since they can change under a process that runs. The hash is keyed, so that nobody can try
out secrets against it.
"""

import hashlib
import json
from dataclasses import MISSING, fields

from anypop.model.codec import to_data
from anypop.model.confinement import PLAIN
from anypop.model.stack_network import DEFAULT_NETWORK
from anypop.model.surroundings import NO_SURROUNDINGS
from anypop.model.workload import Container, Workload
from anypop.plan.jsonpath import steps_of

_LIVE = frozenset({"ports", "readiness", "liveness", "startup", "pre_stop"})  # what changes without a new process
_UNORDERED = frozenset({"env", "env_from_instance", "secrets"})
_DEFAULTS = tuple((f.name, f.default) for f in fields(Container) if f.default is not MISSING)
_DIGEST_BYTES = 10  # 80 bits: a workload has some hundred templates in its life


def template_of(workload: Workload, key: bytes) -> str:
    """Twenty hex digits. `key`: secret to the platform, at most 64 bytes.

    Containers and variables have names and no order: a client that writes them down in another order changes nothing.
    """
    every = (*workload.init, *workload.containers)
    made_from: dict[str, object] = {
        "containers": sorted((_process(c) for c in workload.containers), key=lambda c: str(c["name"]))
    }
    if workload.init:
        made_from["init"] = [_process(c) for c in workload.init]  # in the order of their names already
    if workload.shared_processes:
        made_from["shared_processes"] = True
    if workload.anycast:
        made_from["dual_stack"] = workload.dual_stack  # the addresses are bound before the first instruction, for life
    if workload.network != DEFAULT_NETWORK:
        made_from["network"] = workload.network
    if workload.vpc.subnets:
        made_from["subnets"] = sorted(map(str, workload.vpc.subnets))
    if workload.families != (4, 6):
        made_from["families"] = workload.families
    if workload.further:
        made_from["interfaces"] = [(i.network, sorted(map(str, i.vpc.subnets)), i.families) for i in workload.further]
    if not workload.external:
        made_from["external"] = False
    if workload.restarts:
        made_from["restarts"] = workload.restarts
    around = workload.around  # but for its logins: an image is the same whoever fetched it
    if around.aliases:
        made_from["aliases"] = to_data(around)["aliases"]
    if around.resolving != NO_SURROUNDINGS.resolving:
        made_from["resolving"] = {name: value for name, value in to_data(around)["resolving"].items() if value}
    if workload.volumes:
        # a guest's disk grows under it; a file system that is mounted for containers is made larger before they begin
        sizes = {c.slug: 0 if workload.is_machine else c.size_bytes for c in workload.volumes}
        made_from["volumes"] = sorted((c.slug, sizes[c.slug], c.storage_class) for c in workload.volumes)
    if any(_reads_metadata(path) for c in every for _, path in c.env_from_instance):
        # then labels and annotations are part of some process's environment
        made_from |= {"labels": sorted(workload.labels), "annotations": sorted(workload.annotations)}
    text = json.dumps(made_from, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(text, key=key, digest_size=_DIGEST_BYTES).hexdigest()


def _process(container: Container) -> dict[str, object]:
    """What was left at its default is nothing: so a version of Anypop that knows more fields makes the same template
    of it.
    """
    plain = {name for name, default in _DEFAULTS if getattr(container, name) == default}
    data: dict[str, object] = to_data(container)
    machine = container.machine
    if machine is not None:  # the same image by another name is the same image
        image = machine.image
        plain |= set() if image is None else {"image"}
        data["machine"] = {
            "image": image and image.id,
            "user_data": machine.user_data,
            "ssh_keys": sorted(machine.ssh_keys),
        }
    data |= {name: sorted(getattr(container, name)) for name in _UNORDERED}
    if container.security != PLAIN:
        given = to_data(container.security)
        data["security"] = {name: value for name, value in given.items() if value != getattr(PLAIN, name)}
    return {name: value for name, value in data.items() if name not in _LIVE | plain}


def _reads_metadata(path: str) -> bool:
    return steps_of(path)[0] == "metadata"
