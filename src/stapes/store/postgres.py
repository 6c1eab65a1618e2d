"""What is special about PostgreSQL, apart from everything else the SQL adapter does."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError

from stapes.errors import StoreError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
FORM = "postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE"
DRIVER = "psycopg"

CONNECTIONS = 5
SPARE_CONNECTIONS = 5
WAIT_FOR_CONNECTION_S = 5

# A server that is gone must be found out soon: the writer tries again by itself.
DEFAULTS = {
    "connect_timeout": "5",  # s
    "keepalives_idle": "5",  # s
    "keepalives_interval": "5",  # s
    "keepalives_count": "2",
    "tcp_user_timeout": "10000",  # ms
    "application_name": "stapes",
}
TIMEOUTS = "-c lock_timeout=1s -c statement_timeout=10s -c idle_in_transaction_session_timeout=60s"

MIGRATION_LOCK = 0x7374_6170_6573  # "stapes"
MIGRATION_TIMEOUTS = ("SET LOCAL lock_timeout = '60s'", "SET LOCAL statement_timeout = 0")


def open_engines(database: SecretStr) -> tuple[Engine, Engine]:
    """Engines to read and to write with, over one small pool of connections.

    Whoever reads sees one moment throughout. Raises `StoreError`, in which the URL's password is
    not, when the URL is of no PostgreSQL database or the driver is not installed.
    """
    url = parse_url(database)
    if find_spec(DRIVER) is None:
        raise StoreError(
            "PostgreSQL needs a package that is not installed; run `pip install 'stapes[postgres]'`"
        )
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=SPARE_CONNECTIONS,
        pool_timeout=WAIT_FOR_CONNECTION_S,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        use_native_hstore=False,  # or every connection would begin by asking for it
    )
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return reading, engine


def parse_url(database: SecretStr) -> URL:
    """The URL with the driver and our timeouts; those that it sets itself stand.

    Raises `StoreError`, in which the URL's password is not.
    """
    try:
        url = make_url(database.get_secret_value())
    except (ArgumentError, ValueError):
        url = URL.create("unknown")
    if url.drivername not in SCHEMES or not url.database:
        # The cause would have the password in it, and whatever was taken for a port.
        raise StoreError(f"the setting database is no URL of a PostgreSQL database, {FORM}")
    if any("password" in name for name in url.query):
        raise StoreError("the setting database has a password behind its ?; put it before the @")
    own = {name: value for name, value in url.query.items() if isinstance(value, str)}
    options = f"{TIMEOUTS} {own.pop('options', '')}".strip()
    return url.set(drivername=f"postgresql+{DRIVER}").update_query_dict(
        {**DEFAULTS, **own, "options": options}
    )


def name_of(database: SecretStr) -> str:
    """What a database is called in messages: its name and host alone."""
    url = parse_url(database)
    host = url.host or url.query.get("host", "localhost")
    return f"{url.database} on {host}"


def lock_for_migration(connection: Connection) -> None:
    """Let one process at a time change the schema; the lock ends with the transaction."""
    for timeout in MIGRATION_TIMEOUTS:
        connection.execute(text(timeout))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
