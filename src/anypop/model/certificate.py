"""Which host a certificate of an agent names: what control and other hosts read from it alike.

In: what `ssl` tells of a certificate that TLS has verified. Out: the host. Whether it still counts is not decided here.
"""

from collections.abc import Mapping
from typing import Any

from anypop.model.names import HostName

KIND = "anypop:host:"
"""The kind of URI that its alternative name is."""


def host_named_by(peer: Mapping[str, Any]) -> HostName | None:
    """None: it is no agent's."""
    names = [text for kind, text in peer.get("subjectAltName", ()) if kind == "URI" and text.startswith(KIND)]
    return HostName(names[0].removeprefix(KIND)) if len(names) == 1 else None
