"""The keys of secrets at rest: one of the platform, and below it one for each workload that has secrets.

In: the state folder, or the key in the environment. Out: secrets sealed and opened for the store. A workload's key is
itself sealed with the platform's and stored beside the workload: when the workload is gone its key is dropped, and
whatever still stands of its secrets in older orders opens no more. It writes no row itself, and no key into any log.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from anypop.control.ca import write_whole
from anypop.model.errors import WorldError
from anypop.model.names import WorkloadId
from anypop.model.sealing import Unreadable, fresh_key, key_of, seal, unseal

KEY_FILE = "secret.key"
KEY_VARIABLE = "ANYPOP_SECRET_KEY"
_PLATFORM = "platform"


class Vault:
    """Holds the keys in memory. `new` are workloads' keys that were made and are not stored yet, sealed."""

    def __init__(self, key: bytes, where: str) -> None:
        self._key = key
        self._where = where
        self._keys: dict[WorkloadId, bytes] = {}
        self.new: dict[WorkloadId, str] = {}

    def read(self, sealed: Mapping[WorkloadId, str]) -> None:
        """The stored keys of workloads. Raises `WorldError` where the platform's key does not open one."""
        self._keys = {workload: bytes.fromhex(self._open(text, workload)) for workload, text in sealed.items()}
        self.new.clear()

    def seal_setting(self, value: str) -> str:
        return seal(self._key, value, _PLATFORM)

    def open_setting(self, text: str) -> str:
        return self._open(text, _PLATFORM)

    def seal(self, workload: WorkloadId, secret: str) -> str:
        key = self._keys.get(workload)
        if key is None:
            key = self._keys[workload] = fresh_key()
            self.new[workload] = seal(self._key, key.hex(), workload)
        return seal(key, secret, workload)

    def unseal(self, workload: WorkloadId, text: str) -> str:
        """The secret. Raises `WorldError`."""
        key = self._keys.get(workload)
        try:
            if key is None:
                raise Unreadable("its key is not in the store")
            return unseal(key, text, workload)
        except Unreadable as error:
            raise WorldError(f"open a secret of workload {workload}", str(error)) from error

    def stored(self, gone: Iterable[WorkloadId] = ()) -> None:
        """The store holds the new keys, and those of workloads that are gone no more."""
        self.new.clear()
        for workload in gone:
            self._keys.pop(workload, None)

    def _open(self, text: str, of: str) -> str:
        try:
            return unseal(self._key, text, of)
        except Unreadable as error:
            raise WorldError(
                "open the secrets of the store",
                f"they were sealed with another key than the one in {self._where}. Put the right one back (into the "
                f"file {KEY_FILE} of the state folder, from where it is kept apart, or into {KEY_VARIABLE}) and start "
                "again. What runs in the PoPs goes on meanwhile",
            ) from error


def open_vault(folder: Path) -> Vault:
    """The platform's key: from the environment, from its file, or a new one in a file of mode 0600. Raises
    `WorldError`.
    """
    given = os.environ.get(KEY_VARIABLE)
    path = folder / KEY_FILE
    where = KEY_VARIABLE if given else str(path)
    try:
        if given is None and not path.exists():
            write_whole(path, fresh_key().hex().encode() + b"\n", mode=0o600)
        return Vault(key_of(given or path.read_text()), where)
    except ValueError as error:
        raise WorldError(f"read the key of secrets in {where}", "it is not 64 hex digits") from error
    except OSError as error:
        raise WorldError(f"read the key of secrets in {where}", error.strerror or str(error)) from error
