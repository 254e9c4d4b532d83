"""Alembic's entry: run the migrations on the connection that the store hands over. There is no offline mode and no
ini file.
"""

from alembic import context
from sqlalchemy import Connection

from anypop.control.schema import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
