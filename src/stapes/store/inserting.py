"""Insert many rows of a kind at once.

SQLAlchemy's own way takes a row longer than the database does: it goes by dictionaries twice over
and asks for every value what to do with it. Here that is asked once for each column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

from stapes.errors import RecordRefusedError

Bind = Callable[[Any], Any]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Statement:
    """An INSERT in a database's own words.

    Attributes:
        columns: names in the order of the INSERT.
        ordered: takes a row's values in that order.
        binds: which of them is turned into a value of the database, and by what.
        by_name: whether the database takes values by name.
    """

    sql: str
    columns: tuple[str, ...]
    ordered: Callable[[Row], Row]
    binds: tuple[tuple[int, Bind], ...]
    by_name: bool


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert rows, each with a value for each of two columns or more.

    The other columns of the table have no default. Raises `RecordRefusedError` for a value that
    its column does not take, and the errors of the database.
    """
    statement = _statement(table, columns, connection.dialect)
    try:
        bound = [_bind(statement, row) for row in rows]
    except Exception as error:  # whatever it is, it will be the same the next time
        raise RecordRefusedError(str(error)) from error
    connection.exec_driver_sql(statement.sql, bound)


def _bind(statement: _Statement, row: Row) -> Any:
    values = list(statement.ordered(row))
    for place, bind in statement.binds:
        values[place] = bind(values[place])
    return dict(zip(statement.columns, values, strict=True)) if statement.by_name else tuple(values)


@lru_cache(64)
def _statement(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Statement:
    compiled = insert(table).compile(dialect=dialect, column_keys=list(names))
    assert set(compiled.params) == set(names), "a column has a default"
    order = compiled.positiontup
    columns = tuple(order or names)
    binds = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    return _Statement(
        sql=str(compiled),
        columns=columns,
        ordered=itemgetter(*map(names.index, columns)),
        binds=tuple((place, bind) for place, bind in enumerate(binds) if bind is not None),
        by_name=order is None,
    )
