"""`anypop vm off`, `on`, `rescue`: one virtual machine powered off and on, or started with another image to mend it.

In: an instance's name. Out: what was asked of its host. It waits for nothing: `anypop get instances` shows how far that
is.
"""

from typing import Annotated
from urllib.parse import quote

import typer

from anypop.cli import attaching
from anypop.cli.call import Call, command
from anypop.cli.options import Yes
from anypop.cli.vm_images import app

Instance = Annotated[str, typer.Argument(metavar="INSTANCE", help="Its name.")]


@command(app, "off", examples="anypop vm off web-eu1-lhr-0 --yes")
def off(call: Call, instance: Instance, *, yes: Yes = False) -> None:
    """Power a virtual machine off, and leave it off.

    Its guest is asked to shut down, and ended after its grace period. It keeps its place, its addresses and its disks,
    and costs the same.
    """
    workload = attaching.one(call, instance)
    call.screen.agree(f"Power {instance} off? Its connections are cut off, and it costs the same.", yes=yes)
    _ask(call, workload, instance, "off")
    call.screen.result({"instance": instance, "power": "off"}, lambda: [f"{instance} is being powered off"])


@command(app, "on", examples="anypop vm on web-eu1-lhr-0")
def on(call: Call, instance: Instance) -> None:
    """Power a virtual machine on, with its disks as they were.

    One that was started with another image starts with its own.
    """
    _ask(call, attaching.one(call, instance), instance, "on")
    call.screen.result({"instance": instance, "power": "on"}, lambda: [f"{instance} is being powered on"])


@command(app, "rescue", examples="anypop vm rescue web-eu1-lhr-0 --image my-stack/debian:12")
def rescue(
    call: Call,
    instance: Instance,
    *,
    image: Annotated[str, typer.Option("--image", metavar="STACK/FAMILY[:TAG]", help="What it starts with.")],
    yes: Yes = False,
) -> None:
    """Start a virtual machine with another image, to mend it; 'anypop vm on' ends that.

    Its own root disk is a further disk there, with the serial number "own". It gets no traffic meanwhile.
    """
    workload = attaching.one(call, instance)
    call.screen.agree(f"Start {instance} with {image}? Its connections are cut off.", yes=yes)
    _ask(call, workload, instance, "rescue", {"image": image})
    call.screen.result(
        {"instance": instance, "power": "on", "rescue": image},
        lambda: [f"{instance} starts with {image}; 'anypop vm on {instance}' ends that"],
    )


@command(app, "password", examples="anypop vm password web-eu1-lhr-0")
def password(call: Call, instance: Instance) -> None:
    """Show the first password of a virtual machine, as its guest told it: once, then it is nowhere any more."""
    workload = attaching.one(call, instance)
    path = f"{call.workload_path(workload)}/instances/{quote(instance, safe='')}/passwords/initial"
    found = call.client.get(path, what=f"password of {instance}")
    call.screen.result(found, lambda: [str(found["password"])])


def _ask(call: Call, workload: str, instance: str, what: str, body: dict[str, str] | None = None) -> None:
    path = attaching.path_of(call, workload, instance, f"power/{what}")
    call.client.call("POST", path, what=f"power {instance}", body=body)
