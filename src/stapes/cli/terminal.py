"""What every command says in the same way: failures in one line, and options that recur."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

DEFAULT_URL = "http://127.0.0.1:8080"
WIDEST_TABLE = 2000

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="OCI configuration file with the key to sign with.",
        show_default="$OCI_CONFIG_FILE, ~/.stapes/oci/config or ~/.oci/config",
    ),
]
ProfileName = Annotated[str, typer.Option("--profile", help="Profile of that file.")]
Compartment = Annotated[
    str | None,
    typer.Option(
        help="OCID of the compartment that the session belongs to.",
        show_default="the profile's, else its tenancy",
    ),
]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", help="The home folder.", show_default="$STAPES_HOME or ~/.stapes"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def fail(error: Exception | str) -> None:
    """Say in one line on standard error what went wrong."""
    typer.echo(f"Error: {' '.join(str(error).split())}", err=True)


def print_table(table: Table) -> None:
    """Print a table as wide as it has to be; a terminal that is narrower wraps its lines.

    An OCID alone is longer than most are wide. Wrapped, it can still be copied in one piece, which
    a folded cell of a table cannot.
    """
    from rich.console import Console

    Console(highlight=False, width=WIDEST_TABLE).print(table)


def local_actor() -> str:
    """Who is at this machine's command line, as the audit log names them: ``local:NAME``."""
    try:
        return f"local:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container's user may have no name
        return f"local:{os.getuid()}"


def printable(text: str) -> str:
    """Somebody else's text with what would steer a terminal, such as ESC, written out."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
