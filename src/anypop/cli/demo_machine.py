"""The demo's chapter of a virtual machine: one beside the containers, with an anycast address of its own.

In: a folder with an image, as `script/make-test-image` writes one. Out: lines for the terminal, and what was measured;
where this machine cannot, the reason in words. It uses what a user would: the same commands' code, the same API.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anypop.cli import probes, views, vm_images, watch
from anypop.cli.call import Call
from anypop.cli.failure import Failure
from anypop.cli.image_sources import read
from anypop.cli.screen import Shown
from anypop.lab import build
from anypop.lab.serving import until_serving

SLUG, FAMILY, TARGET = "anypop-vm-fun", "demo", "eu1=AMS"
MEMORY = "128Mi"
STARTS_S = 120.0  # where every instruction is translated, on a machine that does more than that
REQUESTS = 15


def tell(call: Call, lab: build.Lab, folder: Path | None, say: Callable[..., None]) -> dict[str, Any]:
    """The report's entry: `boot_to_serving_s`, `requests`, `failed`; or `skipped`, with why."""
    if why := _why_not(call, folder):
        say(f"left out: {why}")
        return {"skipped": why}
    assert folder is not None
    reference = _image(call, folder)
    say(f"$ anypop workload create {SLUG} --vm-image {reference} --port 80 --target {TARGET} --anycast")
    began = time.monotonic()
    path = f"{call.stack_path('workload')}/workloads"
    made = call.client.call("POST", path, what="create", body={"workload": _document(reference)})["workload"]
    try:
        found = list(views.by_name(watch.until_running(call, SLUG, 1, timeout_s=STARTS_S)))
    except Failure as failure:
        why = f"its guest does not run within {STARTS_S:g} s here: {failure.message}"
        say(why, *failure.problems)
        return {"skipped": why}
    anycast = views.anycast_of(made)[0].split("/")[0]
    until_serving(lab.plan.vantages, [anycast], port=80, timeout_s=STARTS_S)
    took = time.monotonic() - began
    what = {"workload": SLUG, "stack": call.client.settings.stack, "requests": REQUESTS}
    rows = call.client.call("POST", "/anypop/v1/probes", what="probe", body=what)["results"]
    lines: list[Shown] = [
        views.instances(found),
        f"its guest has booted and answers every vantage after {took:.2f} s; anycast {anycast}",
        *probes.probe_lines(rows),
    ]
    say(*lines)
    asked = sum(int(row["requests"]) for row in rows)
    failed = asked - sum(int(row["answered"]) for row in rows)
    return {"boot_to_serving_s": round(took, 3), "requests": asked, "failed": failed}


def _why_not(call: Call, folder: Path | None) -> str:
    hosts = call.client.get("/anypop/v1/hosts", what="hosts")["results"]
    if not any(host.get("machines") in ("kvm", "tcg") for host in hosts):
        return "no host here runs virtual machines (QEMU is not installed)"
    if folder is None:
        return "no image of one was given (script/demo makes one; --vm-image names a folder of script/make-test-image)"
    if not (folder / "image.json").exists():
        return f"there is no image in {folder}"
    return ""


def _image(call: Call, folder: Path) -> str:
    wanted = read({"disk": str(folder), "kernel": "", "initrd": ""},
                  sha256="", cmdline="", firmware="", board="", description="")  # fmt: skip
    return str(vm_images.bring(call, wanted, FAMILY, wanted.default_tag(), timeout=60)["reference"])


def _document(reference: str) -> dict[str, Any]:
    machine = {
        "image": reference,
        "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1", "memory": MEMORY}},
    }
    selector = {"key": "cityCode", "operator": "in", "values": ["AMS"]}
    deployments = {"minReplicas": 1, "selectors": [selector]}
    return {
        "name": SLUG,
        "slug": SLUG,
        "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {"networkInterfaces": [{"network": "default"}], "virtualMachines": {"vm": machine}},
        "targets": {"eu1": {"spec": {"deploymentScope": "cityCode", "deployments": deployments}}},
    }
