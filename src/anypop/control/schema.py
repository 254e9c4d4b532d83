"""The store's tables, as SQLAlchemy Core describes them. The migrations make them; `store` reads and writes them.

Documents that are always read and written as a whole (orders, reports, the network) are JSON text; what is looked up or
must be unique is a column. Times are seconds since the epoch, UTC. Secrets of workloads have a table of their own, so
that no query for anything else can bring one along; there and in orders they are sealed (`vault`).
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from anypop.control import columns, schema_accounts

metadata = schema_accounts.metadata

settings = Table(
    "settings", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False)
)

agent_tokens = Table(
    "agent_tokens",
    metadata,
    columns.key_of_host(),
    columns.secret(),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("address", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    columns.key_of_host(),
    columns.secret(),
    columns.moment("expires_at"),
)

host_keys = Table(
    "host_keys",
    metadata,
    columns.key_of_host(),
    Column("joined_at", Float),
    Column("revoked_at", Float),
)

stacks = Table(
    "stacks",
    metadata,
    columns.identity(),
    columns.of_account(),
    Column("slug", String(63), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("status", String(32), nullable=False),
    columns.moment("created_at"),
    columns.moment("updated_at"),
)

workloads = Table(
    "workloads",
    metadata,
    columns.identity(),
    columns.of_stack(),
    columns.slug(),
    columns.version(),
    Column("good", Integer, nullable=False),
    Column("strategy", Text, nullable=False),
    columns.moment("created_at"),
    Column("updated_at", Float),
    Column("delete_requested_at", Float),
    columns.one_slug_of_a_stack(),
)

revisions = Table(
    "revisions",
    metadata,
    columns.key_of_workload(),
    Column("number", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    Column("workload", Text, nullable=False),
    columns.moment("created_at"),
    columns.note(),
)

workload_secrets = Table(
    "workload_secrets",
    metadata,
    columns.key_of_workload(),
    Column("revision", Integer, primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("value", Text, nullable=False),
)

secret_keys = Table(
    "secret_keys",
    metadata,
    Column("workload_id", String(36), primary_key=True),
    Column("sealed", Text, nullable=False),
)

drains = Table(
    "drains",
    metadata,
    columns.identity(),
    columns.moment("created_at"),
    columns.body(),
)

# Without a workload: of a whole PoP.
dials = Table(
    "dials",
    metadata,
    columns.key_of_pop(),
    Column("workload_id", String(36), primary_key=True),
    columns.body(),
)

scaled = Table(
    "scaled",
    metadata,
    Column("workload_id", String(36), primary_key=True),
    Column("target", String(63), primary_key=True),
    columns.key_of_pop(),
    columns.body(),
)

network_policies = Table(
    "network_policies",
    metadata,
    columns.identity(),
    columns.of_stack(),
    columns.slug(),
    columns.version(),
    Column("updated_at", Float),
    Column("policy", Text, nullable=False),
    Column("document", Text, nullable=False),
    columns.one_slug_of_a_stack(),
)

volumes = Table(
    "volumes",
    metadata,
    columns.key_of_host(),
    Column("id", String(16), primary_key=True),
    columns.body(),
)

networks = Table(
    "networks",
    metadata,
    columns.identity(),
    columns.of_stack(),
    columns.slug(),
    columns.body(),
    columns.one_slug_of_a_stack(),
)

rollouts = Table(
    "rollouts",
    metadata,
    columns.identity(),
    Column("workload_id", String(36), ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    columns.moment("created_at"),
    columns.body(),
    Index("ix_rollouts_workload_id", "workload_id"),
)

incarnations = Table(
    "incarnations",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("workload_id", String(36), ForeignKey("workloads.id"), nullable=False),
    Column("target", String(63), nullable=False),
    Column("pop", String(16), nullable=False),
    Column("host", String(63), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("name", String(255), nullable=False),
    Column("place", Integer, nullable=False),
    Column("link", Integer, nullable=False),
    Column("further", String(255), nullable=False, server_default=""),
    Column("life", Integer, nullable=False),
    Column("template", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("power", String(8), nullable=False, server_default="on"),
    Column("rescue", Text),
    columns.moment("created_at"),
    UniqueConstraint("host", "link"),
    Index("ix_incarnations_workload_id", "workload_id"),
)

anycast = Table(
    "anycast",
    metadata,
    Column("workload_id", String(36), ForeignKey("workloads.id"), primary_key=True),
    Column("address4", String(15), nullable=False, unique=True),
    Column("prefix4", String(18), nullable=False),
    Column("address6", String(39), nullable=False, unique=True),
    Column("prefix6", String(43), nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("pop", String(16), nullable=False),
    Column("host", String(63), nullable=False),
    Column("name", String(255), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("workload_id", String(36), nullable=False),
    Column("target", String(63), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("link", Integer, nullable=False),
    Column("further", String(255), nullable=False, server_default=""),
    Column("life", Integer, nullable=False),
    Column("template", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    columns.moment("created_at"),
    columns.moment("asked_at"),
)

rests = Table(
    "rests",
    metadata,
    Column("what", String(64), primary_key=True),
    columns.moment("until"),
)

evicted = Table(
    "evicted",
    metadata,
    columns.key_of_host(),
    columns.moment("at"),
)

traffic = Table(
    "traffic",
    metadata,
    columns.key_of_host(),
    Column("month", String(7), primary_key=True),
    columns.body(),
)

rules = Table(
    "rules",
    metadata,
    columns.key_of_workload(),
    columns.key_of_pop(),
    Column("upstream", String(64), primary_key=True),
    Column("scope", Text, nullable=False),
    columns.note(),
)

orders = Table(
    "orders",
    metadata,
    columns.key_of_host(),
    Column("generation", BigInteger, primary_key=True),
    columns.body(),
    columns.moment("at"),
    Column("base", BigInteger),
)

memories = Table(
    "memories",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("key", String(64), primary_key=True),
    columns.body(),
)

reports = Table(
    "reports",
    metadata,
    columns.key_of_host(),
    columns.moment("at"),
    columns.body(),
)

# Written when something begins to be metered, and once more when it ends; kept when its workload is gone.
usage = Table(
    "usage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", String(36), nullable=False),
    Column("stack_id", String(36), nullable=False),
    Column("workload_id", String(36), nullable=False),
    columns.slug(),
    Column("item", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("cpu_millis", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    columns.moment("begun_at"),
    Column("ended_at", Float),
    Index("ix_usage_begun_at", "stack_id", "begun_at"),
    Index("ix_usage_ended_at", "stack_id", "ended_at"),
    Index("ix_usage_workload_id", "workload_id"),
)

# Of each month that is over, made from `usage`: how many of a kind were there when it began, and for how long they ran.
usage_months = Table(
    "usage_months",
    metadata,
    Column("stack_id", String(36), primary_key=True),
    Column("begun_at", Float, primary_key=True),
    Column("workload_id", String(36), primary_key=True),
    columns.slug(),
    Column("item", String(16), primary_key=True),
    Column("cpu_millis", BigInteger, primary_key=True, autoincrement=False),
    Column("memory_bytes", BigInteger, primary_key=True, autoincrement=False),
    Column("storage_class", String(255), primary_key=True),
    Column("there", Integer, nullable=False),
    Column("micros", BigInteger, nullable=False),
)

price_books = Table(
    "price_books", metadata, Column("at", Float, primary_key=True), Column("book", Text, nullable=False)
)

# What vantages saw when somebody asked; gone with their workload.
kept_tests = Table(
    "kept_tests",
    metadata,
    columns.identity(),
    Column("workload_id", String(36), ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    columns.moment("at"),
    columns.body(),
    Index("ix_kept_tests_workload_id", "workload_id"),
)

# What hosts have sampled of their own traffic: networks, no address of anybody.
catchments = Table(
    "catchments",
    metadata,
    columns.identity(),
    Column("prefix", String(64), nullable=False),
    Column("plan", Text, nullable=False),
    columns.moment("first_at"),
    columns.moment("begun_at"),
    Index("ix_catchments_prefix", "prefix"),
)

catchment_sources = Table(
    "catchment_sources",
    metadata,
    Column("catchment_id", String(36), ForeignKey("catchments.id", ondelete="CASCADE"), primary_key=True),
    columns.key_of_pop(),
    Column("source", String(64), primary_key=True),
    columns.moment("at"),
    Index("ix_catchment_sources_at", "catchment_id", "at"),
)

# Their bytes are files (`image_files`); gone with their stack.
machine_images = Table(
    "machine_images",
    metadata,
    columns.identity(),
    Column("stack_id", String(36), ForeignKey("stacks.id", ondelete="CASCADE"), nullable=False),
    Column("family", String(63), nullable=False),
    Column("tag", String(63), nullable=False),
    columns.body(),
    UniqueConstraint("stack_id", "family", "tag"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    columns.moment("at"),
    Column("kind", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("message", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("stack_id", String(36)),
    Column("actor", Text, nullable=False, server_default=""),
    Index("ix_events_at", "at"),
)

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# Rows are only ever added; triggers of the migration hold it.
audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("account_id", String(36)),
    Column("actor", Text, nullable=False),
    Column("operation", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("stack_id", String(36)),
    Column("address", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("was", Text),
    Column("became", Text),
    Index("ix_audit_account_id", "account_id", "id"),
    Index("ix_audit_stack_id", "stack_id", "id"),
    Index("ix_audit_at", "at"),
    sqlite_autoincrement=True,
)

# Up to which moment an operator has let rows go.
audit_cuts = Table(
    "audit_cuts",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("cut_at", Float(53), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    sqlite_autoincrement=True,
)
