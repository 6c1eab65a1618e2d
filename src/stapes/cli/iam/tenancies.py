"""``stapes iam tenancy``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import new_ocid, open_register
from stapes.cli.terminal import AsJson, HomeFolder

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Tenancies: accounts that share nothing."
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    home: HomeFolder = None,
) -> None:
    """Add a tenancy, in which nobody may do anything yet, and print its OCID."""
    from stapes.identity.changes import add_tenancy

    with open_register(home) as register:
        change = add_tenancy(register.directory, name, new_ocid("tenancy"))
        register.write(change, datetime.now(UTC))
    typer.echo(change.subject)


@app.command(name="list")
def list_(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List all tenancies of the home."""
    with open_register(home) as register:
        directory = register.directory
    tenancies = sorted(directory.tenancies.values(), key=lambda it: it.name.lower())
    objects = [{"name": it.name, "id": it.id} for it in tenancies]
    print_list(objects, {"name": "tenancy", "id": "OCID"}, as_json=as_json)


@app.command()
def remove(
    tenancy: Annotated[str, typer.Argument(help="By name or OCID.", metavar="TENANCY")],
    home: HomeFolder = None,
) -> None:
    """Remove a tenancy that has nothing in it."""
    from stapes.identity.changes import remove_tenancy

    with open_register(home) as register:
        change = remove_tenancy(register.directory, tenancy)
        register.write(change, datetime.now(UTC))
    typer.echo(f"Removed tenancy {tenancy}.")
