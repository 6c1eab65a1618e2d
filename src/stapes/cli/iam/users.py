"""``stapes iam user``."""

from __future__ import annotations

from typing import Annotated

import typer

from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import Force, TenancyName, make_change, new_ocid, open_register
from stapes.cli.terminal import AsJson, HomeFolder

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Users: people and programs that hold keys."
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Add a user, without keys and groups, and print its OCID."""
    from stapes.identity.changes import add_user

    change = make_change(home, tenancy, add_user, name, new_ocid("user"))
    typer.echo(change.subject)


@app.command(name="list")
def list_(tenancy: TenancyName = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List all users of a tenancy, with their groups."""
    with open_register(home) as register:
        directory, tenancy_id = register.directory, register.tenancy_id(tenancy)
    groups = sorted(directory.groups.values(), key=lambda it: it.name.lower())
    objects = [
        {
            "name": it.name,
            "id": it.id,
            "groups": [group.name for group in groups if it.id in group.user_ids],
        }
        for it in sorted(directory.users.values(), key=lambda it: it.name.lower())
        if it.tenancy_id == tenancy_id
    ]
    print_list(objects, {"name": "user", "groups": "groups", "id": "OCID"}, as_json=as_json)


@app.command()
def remove(
    user: Annotated[str, typer.Argument(help="By name or OCID.", metavar="USER")],
    force: Force = False,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Remove a user, with all keys and memberships; tokens of the user are taken back."""
    from stapes.identity.changes import remove_user

    make_change(home, tenancy, remove_user, user, force=force)
    typer.echo(f"Removed user {user}.")
