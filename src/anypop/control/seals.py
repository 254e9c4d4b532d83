"""Secrets that an earlier version stored in the clear: sealed where they lie, once, before anything else is read.

In: an open database of the newest schema and the vault. Out: the same database without a readable secret in a table, in
the order history, in a free page or in the write-ahead log. It reads orders as text and changes nothing of them but
their secrets.
"""

import json
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from anypop.control import schema
from anypop.control.vault import Vault
from anypop.model.names import WorkloadId
from anypop.model.sealing import Conceal

SEALED = "secrets_sealed"  # the setting that says it is done
_SECRETS = ('"secrets":[[', '"logins":[{')  # of environments, of registries


def seal_what_is_clear(engine: Engine, vault: Vault) -> None:
    """Does nothing where it was done."""
    with engine.begin() as link:
        done = select(schema.settings.c.value).where(schema.settings.c.key == SEALED)
        if link.execute(done).scalar_one_or_none() is not None:
            return
        found = _settings(link, vault) + _secrets(link, vault) + _orders(link, vault.seal)
        _keep_keys(link, vault)
        link.execute(insert(schema.settings), {"key": SEALED, "value": "1"})
    if found:
        _sweep(engine)


def open_all(link: Connection, vault: Vault) -> None:
    """The way back to a version that seals nothing. Does nothing where nothing was sealed."""
    settings, secrets = schema.settings, schema.workload_secrets
    if link.execute(delete(settings).where(settings.c.key == SEALED)).rowcount == 0:
        return
    found = {r["key"]: r["value"] for r in link.execute(select(settings)).mappings()}
    if "template_key" in found:
        value = vault.open_setting(found["template_key"])
        link.execute(update(settings).where(settings.c.key == "template_key").values(value=value))
    vault.read({WorkloadId(r["workload_id"]): r["sealed"] for r in link.execute(select(schema.secret_keys)).mappings()})
    for row in link.execute(select(secrets)).mappings().all():
        same = [secrets.c[c.name] == row[c.name] for c in secrets.primary_key.columns]
        value = vault.unseal(WorkloadId(row["workload_id"]), row["value"])
        link.execute(update(secrets).where(*same).values(value=value))
    alive = set(link.execute(select(schema.workloads.c.id)).scalars())
    _orders(link, lambda workload, text: vault.unseal(workload, text) if workload in alive else "")


def _settings(link: Connection, vault: Vault) -> int:
    table = schema.settings
    value = link.execute(select(table.c.value).where(table.c.key == "template_key")).scalar_one_or_none()
    if value is None:
        return 0
    link.execute(update(table).where(table.c.key == "template_key").values(value=vault.seal_setting(value)))
    return 1


def _secrets(link: Connection, vault: Vault) -> int:
    table = schema.workload_secrets
    keys = [table.c[column.name] for column in table.primary_key.columns]
    found = link.execute(select(table)).mappings().all()
    for row in found:
        same = [key == row[key.name] for key in keys]
        sealed = vault.seal(WorkloadId(row["workload_id"]), row["value"])
        link.execute(update(table).where(*same).values(value=sealed))
    return len(found)


def _orders(link: Connection, change: Conceal) -> int:
    table = schema.orders
    count = 0
    some = or_(*(table.c.body.contains(text, autoescape=True) for text in _SECRETS))
    for row in link.execute(select(table).where(some)).mappings().all():
        body = json.loads(row["body"])
        for instance in body.get("instances", ()):
            _change_within(instance, WorkloadId(instance["workload_id"]), change)
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        link.execute(
            update(table).where(table.c.host == row["host"], table.c.generation == row["generation"]).values(body=text)
        )
        count += 1
    return count


def _change_within(part: Any, workload: WorkloadId, change: Conceal) -> None:
    """Each secret, wherever an instance has its containers: that depends on the version that wrote it."""
    if isinstance(part, list):
        for one in part:
            _change_within(one, workload, change)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name == "secrets" and isinstance(value, list):
                part[name] = [[key, change(workload, secret)] for key, secret in value]
            elif name == "logins" and isinstance(value, list):
                part[name] = [{**login, "password": change(workload, login["password"])} for login in value]
            else:
                _change_within(value, workload, change)


def _keep_keys(link: Connection, vault: Vault) -> None:
    if vault.new:
        rows = [{"workload_id": workload, "sealed": text} for workload, text in vault.new.items()]
        link.execute(insert(schema.secret_keys), rows)
        vault.stored()


def _sweep(engine: Engine) -> None:
    """What was overwritten stands in free pages and in the log of the database until it is written anew."""
    if engine.dialect.name == "sqlite":
        raw = engine.raw_connection()
        try:
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                raw.cursor().execute(statement).fetchall()
        finally:
            raw.close()
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link:
        for table in (schema.settings, schema.workload_secrets, schema.orders):
            link.exec_driver_sql(f"VACUUM (FULL) {table.name}")
