"""Whether a container that an older version of Anypop made, without keeping a template, was made from what its order
says now. Pure.

In: what Podman tells of the container and of its image (as JSON), the order's container. Out: yes or no. It compares
what a process cannot change: image, command, environment, limits. Holds secrets while it compares: never logs
anything.
"""

from collections.abc import Mapping
from typing import Any

from anypop.agent.act.instances.specification import OWN
from anypop.model.workload import Container

# Podman's own, where neither image nor order has them
_GIVEN = frozenset({"PATH", "TERM", "HOSTNAME", "HOME", "container"})


def is_made_of(made: Mapping[str, Any], image: Mapping[str, Any], container: Container) -> bool:
    """`made`, `image`: what `inspect` says; `image` is the one that the order's name stands for here."""
    config, limits, default = made.get("Config") or {}, made.get("HostConfig") or {}, image.get("Config") or {}
    same_image = container.image == made.get("ImageName") or (
        bool(made.get("Image")) and made.get("Image") == image.get("Id")
    )
    return (
        same_image
        and [made.get("Path"), *(made.get("Args") or [])] == _argv(container, default)
        and _same_environment(_variables(config.get("Env")), _variables(default.get("Env")), container)
        and limits.get("Memory") == container.most_memory_bytes
        and limits.get("CpuQuota", 0) * 1000 == container.most_cpu_millis * limits.get("CpuPeriod", 0)
    )


def _argv(container: Container, default: Mapping[str, Any]) -> list[str]:
    """A command replaces the image's entry point and, with it, the image's arguments."""
    entry = container.command or tuple(default.get("Entrypoint") or ())
    words = container.args or (() if container.command else tuple(default.get("Cmd") or ()))
    return [*entry, *words]


def _same_environment(has: Mapping[str, str], default: Mapping[str, str], container: Container) -> bool:
    wanted = {**dict(container.env), **dict(container.secrets)}
    own = {name for name in has.keys() - default.keys() - _GIVEN if not name.startswith(OWN)}
    return own <= wanted.keys() and all(has.get(name) == value for name, value in wanted.items())


def _variables(rows: list[str] | None) -> dict[str, str]:
    return dict(row.partition("=")[::2] for row in rows or ())
