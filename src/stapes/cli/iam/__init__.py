"""``stapes iam``: who exists and who may do what, in a home's store; one file a kind of thing."""

from __future__ import annotations

import typer

from stapes.cli.iam import compartments, groups, keys, policies, tenancies, users

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def iam() -> None:
    """Manage tenancies, compartments, users, groups, keys and policies.

    Things are named by name or OCID, compartments by path (a:b). A running server follows within
    a second, and the audit log keeps who changed what.

    For example:

    - stapes iam user add backend
    - stapes iam key add backend --bearer --expires 90d
    - stapes iam policy list --json
    """


app.add_typer(tenancies.app, name="tenancy")
app.add_typer(compartments.app, name="compartment")
app.add_typer(users.app, name="user")
app.add_typer(groups.app, name="group")
app.add_typer(keys.app, name="key")
app.add_typer(policies.app, name="policy")
