"""`anypop vm image capture`: an image made of a disk of a virtual machine.

In: an instance's name, and which disk. Out: the image, once it is READY. Its host copies the disk and control gets the
copy; called again it waits for the one that is on its way. It decides nothing.
"""

import time
from typing import Annotated

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.image_sources import made_or_there
from anypop.cli.options import Timeout, Wait
from anypop.cli.vm_images import DescriptionOption, FamilyOption, image, path_of, tell, until_over

BEGINS = (
    r"It will begin by \EFI\BOOT\BOOTX64.EFI of the volume: variables of UEFI, which may name another loader, go with "
    "a root disk alone. 'grub-install --removable' puts one there."
)


@command(
    image,
    "capture",
    examples="""
    anypop vm image capture web-eu1-lhr-0 --family web --tag 2
    anypop vm image capture web-eu1-lhr-0 --volume data --family web-data --tag 2
    """,
)
def capture(
    call: Call,
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Of this stack: its name.")],
    *,
    family: FamilyOption,
    tag: Annotated[str, typer.Option("--tag", metavar="NAME", help="Which one of the family.")],
    volume: Annotated[
        str,
        typer.Option("--volume", metavar="CLAIM", help="Default: its root disk.", show_default=False),
    ] = "",
    firmware: Annotated[
        str, typer.Option("--firmware", metavar="bios|uefi", help="How a volume begins.", show_default=False)
    ] = "",
    description: DescriptionOption = "",
    wait: Wait = True,
    timeout: Timeout = 3600.0,
) -> None:
    """Make an image of a disk of a virtual machine as it is now, and wait until it is verified.

    The guest goes on; where it has qemu-guest-agent its file systems are held still for the moment of the copy. One
    that is powered off may be captured too.
    """
    if firmware and firmware.lower() not in ("bios", "uefi"):
        raise usage(f"--firmware is bios or uefi, not {firmware}")
    said = {"volume": volume, "firmware": firmware.upper(), "description": description}
    body = {"capture": {"instance": instance, **{k: v for k, v in said.items() if v}}}
    path = path_of(call, family, tag)

    def is_this(found: views.Data) -> bool:
        source: views.Data = next((part["capturedFrom"] for part in found["parts"] if "capturedFrom" in part), {})
        is_its_disk = (source.get("instance"), source.get("volume", "")) == (instance, volume)
        return found["status"] == "IMPORTING" and is_its_disk

    asked = f"{path.replace('/workload/v1/', '/anypop/v1/', 1)}/capture"
    found = made_or_there(call, path, asked, body, what=f"capture {instance}", wanted=is_this)
    if found["firmware"] == "UEFI" and volume:
        call.screen.note(BEGINS)
    found = until_over(call, path, found, time.monotonic() + (timeout if wait else 0))
    tell(call, found, wait=wait)
