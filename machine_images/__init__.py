"""Makes disk images of virtual machines: `test_image`, small, of Debian's kernel and busybox, for trying and for tests;
`debian_image`, a whole Debian with cloud-init.

In: Debian's packages. Out: a folder with the parts of an image and `image.json`, which describes them as
`anypop.model.machine.MachineImage` does. Nothing of Anypop needs this to run.
"""
