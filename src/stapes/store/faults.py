"""What goes wrong in a database, told as the errors of the store port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from stapes.errors import RecordRefusedError, StoreError

WRONG_TYPE = "42804"
"""PostgreSQL's code for a value of another type than its column's."""

UNBOUND = (OverflowError, UnicodeEncodeError, TypeError)
"""What SQLAlchemy lets through: a number over 64 bits, a lone surrogate, what is no JSON."""

UNREADABLE = JSONDecodeError
"""What it lets through of a row that others wrote."""


@contextmanager
def told_as_store_errors() -> Iterator[None]:
    """Raise what the database's driver raises as `StoreError` or `RecordRefusedError`."""
    try:
        yield
    except (SQLAlchemyError, *UNBOUND, UNREADABLE) as error:
        raise _as_store_error(error) from error


def _as_store_error(error: Exception) -> StoreError:
    # A value that cannot be bound is a ProgrammingError, an error raised by a column's own type, or
    # one of these.
    match error:
        case IntegrityError() | DataError():
            return RecordRefusedError(_reason(error.orig))
        case ProgrammingError() if _code(error.orig) in {None, WRONG_TYPE}:
            return RecordRefusedError(_reason(error.orig))
        case DBAPIError():
            return StoreError(_reason(error.orig))
        case StatementError() | OverflowError() | UnicodeEncodeError() | TypeError():
            return RecordRefusedError(str(getattr(error, "orig", error)))
        case _:
            return StoreError(str(error))


def _code(error: BaseException | None) -> str | None:
    """PostgreSQL's code of what a server did not like; None when it was never asked, or SQLite.

    A server's own ProgrammingError is, for example, a table that is missing: no record's fault.
    """
    return getattr(error, "sqlstate", None)


def _reason(error: BaseException | None) -> str:
    """One line. PostgreSQL's further lines have the row in them: words, perhaps."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return primary or " ".join(str(error).split())
