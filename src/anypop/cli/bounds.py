"""The options by which people say how far a number of instances follows its load.

In: `--max` and `--cpu`. Out: members of a target's `deployments`. Pure; what numbers may be is control's to say.
"""

from typing import Annotated, Any

import typer

Most = Annotated[
    int,
    typer.Option(
        "--max", metavar="N", help="With --cpu: up to so many in each city, by their load.", show_default=False, min=0
    ),
]
Cpu = Annotated[
    str,
    typer.Option(
        "--cpu",
        metavar="50%|500m",
        help="The mean use of processor above which more are started: of what each asks for, or cores.",
        show_default=False,
    ),
]


def deployments(most: int, cpu: str) -> dict[str, Any]:
    """What the two options declare; ValueError in words where they cannot be understood."""
    found: dict[str, Any] = {"maxReplicas": most} if most else {}
    if not cpu:
        return found
    if cpu.endswith("%"):
        number = cpu[:-1].strip()
        if not number.isdigit() or not int(number):
            raise ValueError(f"--cpu {cpu}: write 50% (of what an instance asks for) or 500m (thousandths of a core)")
        metric: dict[str, Any] = {"metric": "cpu", "averageUtilization": int(number)}
    else:
        metric = {"metric": "cpu", "averageValue": cpu}
    return found | {"scaleSettings": {"metrics": [metric]}}
