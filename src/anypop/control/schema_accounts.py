"""The tables of who may ask: accounts, users and their roles, how they sign in, and what they hold.

A part of `schema`, whose rules hold here too. Of secrets, tokens and invitations there is a hash alone, of passwords
one that is slow to try (`passwords`).
"""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, MetaData, String, Table, Text, false

from anypop.control import columns

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    columns.identity(),
    Column("name", Text, nullable=False),
    Column("operator", Boolean, nullable=False),
    columns.moment("created_at"),
    Column("suspended_at", Float),
)

credentials = Table(
    "credentials",
    metadata,
    columns.identity(),
    Column("client_id", String(32), nullable=False, unique=True),
    columns.of_account(),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(64), nullable=False),
    columns.moment("created_at"),
    Column("user_id", String(36)),
    Column("stack_id", String(36)),
    Column("scope", String(16), nullable=False, server_default="write"),
    Column("expires_at", Float),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    columns.of_account(),
    Column("credential_id", String(36), ForeignKey("credentials.id", ondelete="CASCADE"), nullable=False),
    columns.moment("expires_at"),
)

users = Table(
    "users",
    metadata,
    columns.identity(),
    Column("name", String(255), nullable=False, unique=True),
    Column("password_hash", Text),
    columns.moment("created_at"),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", String(36), ForeignKey("accounts.id"), primary_key=True),
    Column("role", String(16), nullable=False),
    columns.moment("created_at"),
    # a rule of the provider's gave the role, and takes it away
    Column("by_rule", Boolean, nullable=False, server_default=false()),
    Index("ix_memberships_account_id", "account_id"),
)

# Who a provider of sign-ins (OIDC) says somebody is.
identities = Table(
    "identities",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    columns.moment("created_at"),
    Index("ix_identities_user_id", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    columns.of_account(),
    Column("via", String(32), nullable=False),
    columns.moment("created_at"),
    columns.moment("expires_at"),
    Index("ix_sessions_user_id", "user_id"),
)

# Each opens once what it is for, and is gone then.
invitations = Table(
    "invitations",
    metadata,
    columns.identity(),
    columns.secret(),
    Column("kind", String(16), nullable=False),
    Column("account_id", String(36), ForeignKey("accounts.id")),
    Column("account_name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE")),
    columns.note(),
    Column("made_by", Text, nullable=False),
    columns.moment("created_at"),
    Column("approved_at", Float),
    columns.moment("expires_at"),
)
