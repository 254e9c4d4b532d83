"""One authority for all controls that share a store: agents trust the certificate of whichever is active.

In: a control's own folder and the shared store. Out: the authority's certificate and key in the folder: made by the
first control and kept in the store, sealed; taken from there by every other. It never replaces an authority that a
folder has: then all clients of that control would have to be told.
"""

import json
import logging
from datetime import datetime
from pathlib import Path

from anypop.control import ca
from anypop.control.store import Store

log = logging.getLogger("anypop.control")

_SETTING = "authority"
_FILES = {"ca.key": 0o600, "ca.pem": 0o644}


def shared_authority(folder: Path, store: Store, now: datetime) -> None:
    """Raises `WorldError` where the store's cannot be opened, or nothing can be written."""
    saved = store.sealed_setting(_SETTING)
    if saved is not None:
        files = json.loads(saved)
        if not (folder / "ca.key").exists():
            for name, mode in _FILES.items():
                ca.write_whole(folder / name, files[name].encode(), mode=mode)
        elif (folder / "ca.pem").read_text() != files["ca.pem"]:
            log.warning("%s has another authority than the store: agents of other controls will not trust this one. "
                        "Remove its ca.* and server.* files to take the shared one", folder)  # fmt: skip
        return
    ca.ensure(folder, (), now=now)
    store.put_sealed_setting(_SETTING, json.dumps({name: (folder / name).read_text() for name in _FILES}))
