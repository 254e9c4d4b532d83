"""Virtual machines of a host: QEMU's processes, one for each instance that is a machine, behind the same seam as
containers. They outlive the agent, which finds them again by what lies in their folders.
"""
