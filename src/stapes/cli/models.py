"""``stapes models``: what there is to hear with, and what is installed of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.terminal import AsJson, HomeFolder, print_table
from stapes.errors import ModelError

if TYPE_CHECKING:
    from stapes.models.catalogue import Catalogue, Model
    from stapes.models.shelf import Shelf

app = typer.Typer(no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(help="Name of the model.", metavar="NAME")]


@app.callback()
def models() -> None:
    """List, pull, verify and remove the models that hear.

    A running server hears with what was installed when it started.

    For example:

    - stapes models list
    - stapes models pull zipformer-en
    """


@dataclass(frozen=True, slots=True)
class _Rack:
    """The catalogue of a home, and what is installed of it in ``folder``."""

    folder: Path
    catalogue: Catalogue
    shelf: Shelf


@app.command("list")
def list_models(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the models there are, the better ones first.

    For example:

    - stapes models list
    - stapes models list --json
    """
    rack = _open(home)
    rows = {**rack.catalogue, **{name: each.row for name, each in rack.shelf.models.items()}}
    for fault in rack.shelf.faults:
        typer.echo(f"Warning: {fault}", err=True)
    if as_json:
        typer.echo(json.dumps([_object(row, rack) for row in rows.values()], ensure_ascii=False))
    else:
        _print_table(list(rows.values()), rack)


@app.command()
def info(name: Name, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show all that is known of a model.

    For example:

    - stapes models info zipformer-en
    """
    from stapes.models.catalogue import find, pull_command

    rack = _open(home)
    installed = rack.shelf.models.get(name)
    row = installed.row if installed else find(rack.catalogue, name)
    values = _object(row, rack)
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    for key, value in values.items():
        for line in _lines(value):
            typer.echo(f"{key:<14} {line}")
    if installed is None:
        typer.echo(f"\nTo have it: {pull_command(row)}")


@app.command()
def pull(
    name: Name,
    home: HomeFolder = None,
    mirror: Annotated[
        str | None,
        typer.Option(help="URL of a mirror of the hub.", show_default="$HF_ENDPOINT or the hub"),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder, without a network."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Install a model, and check what came. A download that was cut off goes on.

    For example:

    - stapes models pull zipformer-en
    - stapes models pull zipformer-en --mirror https://hub.example.com
    - stapes models pull zipformer-en --from /media/stick/zipformer-en
    """
    from stapes.models import pulling
    from stapes.models.catalogue import find, missing_extra

    if mirror is not None and from_ is not None:
        raise ModelError("give --mirror or --from, not both")
    rack = _open(home)
    row = find(rack.catalogue, name)
    if row.is_built_in:
        raise ModelError(f"{name} comes with Stapes; there is nothing to pull")
    if from_ is not None:
        installed = pulling.pull_from(row, rack.folder, from_)
    else:
        installed = pulling.pull(row, rack.folder, mirror=mirror)
    extra = missing_extra(row)
    if as_json:
        typer.echo(json.dumps(_object(installed.row, _open(home)), ensure_ascii=False))
    else:
        commit = installed.row.revision or "an unknown commit"
        typer.echo(f"{name} is installed in {installed.folder}, at {commit}.")
    if extra is not None:
        typer.echo(f"It needs its engine as well: pip install 'stapes[{extra}]'", err=True)


@app.command()
def remove(name: Name, home: HomeFolder = None) -> None:
    """Remove an installed model.

    For example:

    - stapes models remove zipformer-en
    """
    from stapes.models import shelf

    folder = _open(home).folder
    with shelf.locked(folder):
        shelf.remove(folder, name)
    typer.echo(f"{name} is removed.")


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of models.", metavar="[NAME]...", show_default="all"),
    ] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compare the files of installed models with what was pulled; exit code 1 if one differs.

    For example:

    - stapes models verify
    """
    from stapes.models.shelf import find_faults

    shelf = _open(home).shelf
    chosen = names or list(shelf.models)
    for name in chosen:
        if name not in shelf.models:
            raise ModelError(f"the model {name!r} is not installed; see `stapes models list`")
    faults = {name: find_faults(shelf.models[name]) for name in chosen}
    unreadable = [] if names else list(shelf.faults)
    if as_json:
        typer.echo(json.dumps({"models": faults, "unreadable": unreadable}, ensure_ascii=False))
    else:
        for name, found in faults.items():
            typer.echo(f"{name}: {'; '.join(found) or 'as it was pulled'}")
        for fault in unreadable:
            typer.echo(fault)
    if unreadable or any(faults.values()):
        raise typer.Exit(1)


def _open(home: Path | None) -> _Rack:
    from stapes.models.catalogue import read_catalogue
    from stapes.models.shelf import read_shelf
    from stapes.settings import load

    settings = load(home=home)
    catalogue = read_catalogue(settings.home)
    return _Rack(settings.shelf, catalogue, read_shelf(settings.shelf, catalogue))


def _object(row: Model, rack: _Rack) -> dict[str, Any]:
    """A row as JSON has it, with whether it is installed and where."""
    installed = rack.shelf.models.get(row.name)
    values = row.model_dump(mode="json", exclude_none=True)
    place = {} if installed is None or installed.folder is None else {"in": str(installed.folder)}
    size = {} if row.size is None else {"size": row.size}
    return {**values, **size, "installed": installed is not None, **place}


def _lines(value: Any) -> list[str]:
    """A value of a row as lines to read."""
    if isinstance(value, dict):
        return [" ".join(str(part) for part in value.values())]
    if isinstance(value, list):
        parts = [_lines(part)[0] for part in value]
        return parts if any(isinstance(part, dict) for part in value) else [" ".join(parts)]
    return [str(value)]


def _print_table(rows: list[Model], rack: _Rack) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("model", "installed", "modelType", "languages"):
        table.add_column(heading, no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    for heading in ("partials", "word error rate", "licence", "what"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, installed=row.name in rack.shelf.models))
    print_table(table)


def _cells(row: Model, *, installed: bool) -> list[str]:
    return [
        row.name,
        "yes" if installed else "-",
        row.model_type,
        "all" if "*" in row.languages else " ".join(row.languages),
        "?" if row.size is None else f"{row.size / 1e6:.0f}",
        {True: "yes", False: "no", None: "-"}[row.streaming],
        "-" if row.wer is None else f"{row.wer.percent} % ({row.wer.set})",
        row.licence or "?",
        row.summary,
    ]
