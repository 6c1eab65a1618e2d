"""How lists are printed: as a table of some of their fields, or as JSON with all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from stapes.cli.terminal import print_table


def print_list(
    objects: Sequence[dict[str, Any]], columns: dict[str, str], *, as_json: bool
) -> None:
    """Print objects as JSON, or their fields ``columns`` (field: heading) as a table."""
    if as_json:
        typer.echo(json.dumps(objects, ensure_ascii=False))
    elif objects:
        _print_table(objects, columns)
    else:
        typer.echo("None.")


def _print_table(objects: Sequence[dict[str, Any]], columns: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in columns.values():
        table.add_column(heading)
    for each in objects:
        table.add_row(*(Text(_cell(each[name])) for name in columns))
    print_table(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value in {None, ""} else str(value)
