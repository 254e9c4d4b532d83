"""The key that seals the secrets of a host's ledger: of this host alone, and never in the ledger's own file.

In: the agent's folder, or the key in the environment. Out: the host's key, derived from it with the host's name. Made
in a file of mode 0600 at the first start. It seals nothing itself.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from anypop.model.errors import WorldError
from anypop.model.names import HostName
from anypop.model.sealing import derived, fresh_key, key_of

KEY_FILE = "ledger.key"
KEY_VARIABLE = "ANYPOP_SECRET_KEY"


def ledger_key(folder: Path, host: HostName, environment: Mapping[str, str]) -> bytes:
    """Raises `WorldError` where the key cannot be read or written."""
    path = folder / KEY_FILE
    given = environment.get(KEY_VARIABLE)
    where = KEY_VARIABLE if given else str(path)
    try:
        if given is None and not path.exists():
            _write(path, fresh_key().hex())
        return derived(key_of(given or path.read_text()), f"ledger of {host}")
    except ValueError as error:
        raise WorldError(f"read the key of the ledger in {where}", "it is not 64 hex digits") from error
    except OSError as error:
        raise WorldError(f"read the key of the ledger in {where}", error.strerror or str(error)) from error


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)
