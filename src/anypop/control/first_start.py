"""The first start of a control: its new database is made in a process of its own.

In: the state folder. Out: a file database with its tables, or nothing at all; whoever opens it next finds out and says
why. What migrations load (Alembic and its own libraries) is 20 MB that control never needs again, and a process gives
no memory back that libraries took. A database that stands already is opened and migrated where it is used, so that no
two connections ever wait for each other.
"""

import os
from pathlib import Path

from anypop.control.database import address_of
from anypop.control.store import open_store


def make_apart(folder: Path) -> None:
    """Call it before the process has threads. Does nothing where a database stands, or is a server's."""
    address = address_of(folder)
    if address.get_backend_name() != "sqlite" or Path(address.database or "").exists():
        return
    child = os.fork()
    if child == 0:
        try:
            open_store(folder).close()
        finally:
            os._exit(0)  # whatever went wrong, the parent tries the same next and says it in words
    os.waitpid(child, 0)
