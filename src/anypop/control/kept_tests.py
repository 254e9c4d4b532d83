"""Tests of anycast addresses that are kept: what every vantage saw, so that a later one can be compared with it.

In: the answer of a test, as plain data. Out: the same again, by workload, the newest first. The last `MOST` of a
workload are kept, and all go with it. It asks no vantage and judges nothing. Blocking.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from anypop.control.audit import Noted
from anypop.control.refusals import NotFound
from anypop.control.schema import kept_tests
from anypop.control.state import Declaration
from anypop.control.store import Store
from anypop.model.names import WorkloadId

MOST = 100  # of one workload: some kilobytes each


class KeptTests:
    """All of them; nothing is kept in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, declared: Declaration, test: Mapping[str, Any]) -> None:
        """`test` has an `id` and a moment `at`. Raises `WorldError`."""
        noted = Noted(subject=declared.workload.slug, stack_id=declared.stack_id, became={"test": test["id"]})
        mine = kept_tests.c.workload_id == declared.id
        with self._store.writing(noted=noted) as link:
            link.execute(
                insert(kept_tests).values(
                    id=test["id"], workload_id=declared.id, at=test["at"], body=json.dumps(test, separators=(",", ":"))
                )
            )
            order = (kept_tests.c.at.desc(), kept_tests.c.id)
            old = link.execute(select(kept_tests.c.id).where(mine).order_by(*order).offset(MOST).limit(MOST))
            if gone := list(old.scalars()):
                link.execute(delete(kept_tests).where(kept_tests.c.id.in_(gone)))

    def listed(self, workload: WorkloadId) -> list[dict[str, Any]]:
        """The newest first."""
        query = select(kept_tests.c.body).where(kept_tests.c.workload_id == workload)
        with self._store.reading() as link:
            found = link.execute(query.order_by(kept_tests.c.at.desc(), kept_tests.c.id)).scalars()
            return [json.loads(body) for body in found]

    def one(self, workload: WorkloadId, ref: str) -> dict[str, Any]:
        """By its id, or the beginning of it. Raises `NotFound`."""
        found = [test for test in self.listed(workload) if ref and str(test["id"]).startswith(ref)]
        if len(found) != 1:
            raise NotFound(f"{len(found)} tests begin with {ref}" if found else f"no test {ref}")
        return found[0]
