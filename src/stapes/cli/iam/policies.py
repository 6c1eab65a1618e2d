"""``stapes iam policy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import Force, TenancyName, make_change, new_ocid, open_register
from stapes.cli.terminal import AsJson, HomeFolder

if TYPE_CHECKING:
    from stapes.identity.model import Binding, Directory

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Policies: who may do what where."
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    statements: Annotated[
        list[str], typer.Argument(help="One or more, each in quotes.", metavar="STATEMENT...")
    ],
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Add a policy and print its OCID. Whom and what it names is looked up now, once.

    A statement reads: Allow {any-user | group NAME} to {inspect | read | use | manage}
    ai-service-speech-family in {tenancy | compartment NAME[:NAME]}

    For example:

    - stapes iam policy add all "Allow any-user to use ai-service-speech-family in tenancy"
    """
    from stapes.identity.changes import add_policy

    change = make_change(home, tenancy, add_policy, name, statements, new_ocid("policy"))
    typer.echo(change.subject)


@app.command(name="list")
def list_(tenancy: TenancyName = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List all statements of a tenancy, and what they mean as things are named now."""
    with open_register(home) as register:
        directory, tenancy_id = register.directory, register.tenancy_id(tenancy)
    policies = sorted(directory.policies.values(), key=lambda it: it.name.lower())
    objects = [
        {"name": it.name, "id": it.id, "statement": text, **_meaning(directory, binding)}
        for it in policies
        if it.tenancy_id == tenancy_id
        for text, binding in zip(it.statements, it.bindings, strict=True)
    ]
    columns = {"name": "policy", "group": "group", "verb": "may", "where": "in"}
    print_list(objects, {**columns, "statement": "as written"}, as_json=as_json)


@app.command()
def remove(
    policy: Annotated[str, typer.Argument(help="By name or OCID.", metavar="POLICY")],
    force: Force = False,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Remove a policy and all that it allows."""
    from stapes.identity.changes import remove_policy

    make_change(home, tenancy, remove_policy, policy, force=force)
    typer.echo(f"Removed policy {policy}.")


def _meaning(directory: Directory, binding: Binding) -> dict[str, Any]:
    from stapes.identity.naming import path_of

    group_id, place = binding.group_id, binding.compartment_id
    group = directory.groups.get(group_id or "")
    return {
        "group": "any-user" if group_id is None else group.name if group else group_id,
        "groupId": group_id,
        "verb": binding.verb.value,
        "where": "tenancy" if place in directory.tenancies else path_of(directory, place),
        "compartmentId": place,
    }
