"""Insert many rows of a kind at once.

SQLAlchemy's own way takes a row longer than the database does: it goes by dictionaries twice over
and asks for every value what to do with it. Here that is asked once for each column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

from stapes.errors import RecordRefusedError

Bind = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Statement:
    """An INSERT in a database's own words.

    Attributes:
        columns: names in order, each with what turns its values into those of the database.
        by_name: whether the database takes values by name.
    """

    sql: str
    columns: tuple[tuple[str, Bind | None], ...]
    by_name: bool


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; the others of the table have no default.

    Raises `RecordRefusedError` for a value that its column does not take, and the errors of the
    database.
    """
    if not rows:
        return
    statement = _statement(table, tuple(rows[0]), connection.dialect)
    try:
        bound = [_bind(statement, row) for row in rows]
    except Exception as error:  # whatever it is, it will be the same the next time
        raise RecordRefusedError(str(error)) from error
    connection.exec_driver_sql(statement.sql, bound)


def _bind(statement: _Statement, row: dict[str, Any]) -> Any:
    if statement.by_name:
        return {
            name: row[name] if bind is None else bind(row[name]) for name, bind in statement.columns
        }
    return tuple(
        [row[name] if bind is None else bind(row[name]) for name, bind in statement.columns]
    )


@lru_cache(64)
def _statement(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Statement:
    compiled = insert(table).compile(dialect=dialect, column_keys=list(names))
    assert set(compiled.params) == set(names), "a column has a default"
    order = compiled.positiontup
    columns = tuple(
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
        for name in order or names
    )
    return _Statement(str(compiled), columns, by_name=order is None)
