"""The sizes SP-1 to SP-8: what an instance asks for, as `resources.requests` of the Workload API writes it.

The source is the price sheet of the hosted service whose API we speak; the numbers are vCPU and GiB of memory.
"""

from anypop.cli.failure import usage

SIZES: dict[str, tuple[int, int]] = {
    "SP-1": (1, 2),
    "SP-2": (2, 4),
    "SP-3": (2, 8),
    "SP-4": (4, 16),
    "SP-5": (8, 32),
    "SP-6": (16, 64),
    "SP-7": (32, 128),
    "SP-8": (48, 256),
}


def requests_of(size: str) -> dict[str, str]:
    """`{"cpu": "2", "memory": "4Gi"}` of SP-2. `Failure` for a size that is not in the table."""
    found = SIZES.get(size.upper())
    if found is None:
        table = ", ".join(f"{name} {cpu}/{memory}" for name, (cpu, memory) in SIZES.items())
        raise usage(f"no size '{size}'", advice=f"Sizes, as vCPU/GiB: {table}.")
    cpu, memory = found
    return {"cpu": str(cpu), "memory": f"{memory}Gi"}
