"""The command line: one file per command, and one place where failures become one line."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

import stapes
from stapes.cli import audit, bench, iam, keys, models, receipt, sessions
from stapes.cli.demo import demo
from stapes.cli.init import init
from stapes.cli.prune import prune
from stapes.cli.revoke import revoke
from stapes.cli.serve import serve
from stapes.cli.terminal import fail
from stapes.cli.token import token
from stapes.cli.transcribe import transcribe
from stapes.cli.usage import usage
from stapes.errors import StapesError


class _Commands(TyperGroup):
    """Tells expected failures in one line, exit code 1, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except StapesError as error:
            fail(error)
        except ValidationError as error:
            fail(_faults(error))
        except tomllib.TOMLDecodeError as error:
            fail(f"stapes.toml of the home cannot be read: {error}")
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        raise typer.Exit(1)


app = typer.Typer(
    name="stapes",
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stapes {stapes.__version__}")
        raise typer.Exit


@app.callback()
def stapes_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A self-hosted realtime speech service, wire-compatible with OCI AI Speech realtime.

    stapes demo shows it at work; stapes init and stapes serve set it up.
    """


app.command()(demo)
app.command()(init)
app.command()(serve)
app.command()(token)
app.command()(revoke)
app.command()(transcribe)
app.add_typer(models.app, name="models")
app.add_typer(sessions.app, name="sessions")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.command()(usage)
app.command()(prune)
app.add_typer(receipt.app, name="receipt")
app.add_typer(iam.app, name="iam")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run ``stapes`` with the arguments of this process."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _faults(error: ValidationError) -> str:
    """What is wrong with which value; the values are left out, for some are secrets."""
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
