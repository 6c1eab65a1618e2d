"""``stapes iam group``."""

from __future__ import annotations

from typing import Annotated

import typer

from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import Force, TenancyName, make_change, new_ocid, open_register
from stapes.cli.terminal import AsJson, HomeFolder

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Groups: users that policies speak of."
)
WhichGroup = Annotated[str, typer.Argument(help="By name or OCID.", metavar="GROUP")]
WhichUser = Annotated[str, typer.Argument(help="By name or OCID.", metavar="USER")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Add a group of nobody and print its OCID."""
    from stapes.identity.changes import add_group

    change = make_change(home, tenancy, add_group, name, new_ocid("group"))
    typer.echo(change.subject)


@app.command(name="list")
def list_(tenancy: TenancyName = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List all groups of a tenancy, with their users."""
    with open_register(home) as register:
        directory, tenancy_id = register.directory, register.tenancy_id(tenancy)
    users = sorted(directory.users.values(), key=lambda it: it.name.lower())
    objects = [
        {
            "name": it.name,
            "id": it.id,
            "users": [user.name for user in users if user.id in it.user_ids],
        }
        for it in sorted(directory.groups.values(), key=lambda it: it.name.lower())
        if it.tenancy_id == tenancy_id
    ]
    print_list(objects, {"name": "group", "users": "users", "id": "OCID"}, as_json=as_json)


@app.command()
def remove(group: WhichGroup, tenancy: TenancyName = None, home: HomeFolder = None) -> None:
    """Remove a group that no policy speaks of."""
    from stapes.identity.changes import remove_group

    make_change(home, tenancy, remove_group, group)
    typer.echo(f"Removed group {group}.")


@app.command()
def add_user(
    group: WhichGroup, user: WhichUser, tenancy: TenancyName = None, home: HomeFolder = None
) -> None:
    """Let a user join a group."""
    from stapes.identity.changes import add_member

    make_change(home, tenancy, add_member, group, user)
    typer.echo(f"User {user} is in group {group}.")


@app.command()
def remove_user(
    group: WhichGroup,
    user: WhichUser,
    force: Force = False,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Take a user out of a group."""
    from stapes.identity.changes import remove_member

    make_change(home, tenancy, remove_member, group, user, force=force)
    typer.echo(f"User {user} is not in group {group} any more.")
