"""``stapes iam compartment``."""

from __future__ import annotations

from typing import Annotated

import typer

from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import TenancyName, make_change, new_ocid, open_register
from stapes.cli.terminal import AsJson, HomeFolder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Compartments: the tree that policies grant.",
)
Which = Annotated[
    str, typer.Argument(help="By path from the root (a:b) or OCID.", metavar="COMPARTMENT")
]


@app.command()
def add(
    path: Annotated[str, typer.Argument(help="Where and what: a:b:NEW.", metavar="PATH")],
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Add a compartment and print its OCID; what is above it must exist.

    For example:

    - stapes iam compartment add calls
    - stapes iam compartment add calls:north
    """
    from stapes.identity.changes import add_compartment

    change = make_change(home, tenancy, add_compartment, path, new_ocid("compartment"))
    typer.echo(change.subject)


@app.command(name="list")
def list_(tenancy: TenancyName = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List all compartments of a tenancy."""
    from stapes.identity.naming import path_of

    with open_register(home) as register:
        directory, tenancy_id = register.directory, register.tenancy_id(tenancy)
    objects = [
        {"path": path_of(directory, it.id), "name": it.name, "id": it.id, "parentId": it.parent_id}
        for it in directory.compartments.values()
        if it.tenancy_id == tenancy_id
    ]
    objects.sort(key=lambda it: it["path"].lower())
    print_list(objects, {"path": "compartment", "id": "OCID"}, as_json=as_json)


@app.command()
def rename(
    compartment: Which,
    name: Annotated[str, typer.Argument(help="Its new name.", metavar="NAME")],
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Give a compartment another name; policies go on speaking of it."""
    from stapes.identity.changes import rename_compartment

    make_change(home, tenancy, rename_compartment, compartment, name)
    typer.echo(f"Compartment {compartment} is now called {name}.")


@app.command()
def move(
    compartment: Which,
    parent: Annotated[
        str | None,
        typer.Option("--to", help="What it goes under: path or OCID.", show_default="the root"),
    ] = None,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Move a compartment, with all below it, under another one.

    Policies that speak of it go on doing so. Those on what is above its new place cover it too.
    """
    from stapes.identity.changes import move_compartment

    make_change(home, tenancy, move_compartment, compartment, parent)
    typer.echo(f"Compartment {compartment} is now under {parent or 'the root'}.")


@app.command()
def remove(compartment: Which, tenancy: TenancyName = None, home: HomeFolder = None) -> None:
    """Remove a compartment that is empty and that no policy speaks of."""
    from stapes.identity.changes import remove_compartment

    make_change(home, tenancy, remove_compartment, compartment)
    typer.echo(f"Removed compartment {compartment}.")
