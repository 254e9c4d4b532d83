"""Templates: what an instance's processes are made from, as one hash.

In: a workload and the platform's key. Out: a short hash that is the same for as long as no process has to be made anew: images, commands,
environment, secrets and resources count; ports, probes, labels, targets and replicas do not, since they can change under a process that
runs. The hash is keyed, so that nobody can try out secrets against it.
"""

import hashlib
import json

from anypop.model.codec import to_data
from anypop.model.workload import Container, Workload

_LIVE = frozenset({"ports", "readiness", "liveness"})  # what changes without a new process
_DIGEST_BYTES = 10  # 80 bits: a workload has some hundred templates in its life


def template_of(workload: Workload, key: bytes) -> str:
    """Twenty hex digits. `key`: secret to the platform, at most 64 bytes."""
    made_from: dict[str, object] = {"containers": [_process(c) for c in workload.containers]}
    if any(path.startswith(".metadata") for c in workload.containers for _, path in c.env_from_instance):
        # then labels and annotations are part of some process's environment
        made_from |= {"labels": sorted(workload.labels), "annotations": sorted(workload.annotations)}
    text = json.dumps(made_from, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(text, key=key, digest_size=_DIGEST_BYTES).hexdigest()


def _process(container: Container) -> dict[str, object]:
    data: dict[str, object] = to_data(container)
    return {name: value for name, value in data.items() if name not in _LIVE}
