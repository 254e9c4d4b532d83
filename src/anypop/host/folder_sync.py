"""A folder's own entries on disk: a file that was renamed in it could have its old name again when the power fails.

In: a folder. Out: nothing; it returns when the disk has them. What is in its files is for whoever wrote them to see to.
"""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Blocking. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
