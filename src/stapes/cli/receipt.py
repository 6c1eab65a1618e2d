"""``stapes receipt``: check what a session was said to have used."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.own_store import open_own
from stapes.cli.terminal import HomeFolder, printable
from stapes.errors import ReceiptError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Usage receipts.\n\nFor example:\n\n- stapes receipt verify receipt.json",
)

# Without a callback, an application of one command takes the command's name for an argument.
app.callback()(lambda: None)


@app.command()
def verify(
    file: Annotated[
        str, typer.Argument(help="The receipt; - reads standard input.", metavar="FILE")
    ],
    keys: Annotated[
        str | None,
        typer.Option(
            help="A JWK set to check with, or the URL of a server that has it.",
            metavar="FILE|URL",
            show_default="the home's keys",
        ),
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Check that a receipt is as a server signed it, and adds up; exit code 1 when it is not.

    For example:

    - stapes receipt verify receipt.json
    - stapes receipt verify - --keys https://speech.example.org
    """
    from stapes.accounts import receipts

    receipt = _parse(_read(file))
    kid = receipts.verify(receipt, _public_keys(keys, home))
    seconds = f"{receipt['audioInMs'] // 1000}.{receipt['audioInMs'] % 1000:03d}"
    typer.echo(f"The receipt verifies. It is signed with the key {kid}.")
    typer.echo(f"  session  {printable(receipt['sessionId'])}")
    typer.echo(f"  issuer   {printable(receipt['issuer'])}")
    typer.echo(f"  audio    {seconds} s in {len(receipt['streams'])} streams")


def _public_keys(source: str | None, home: Path | None) -> dict[str, Ed25519PublicKey]:
    from stapes.client.receipt_keys import fetch_receipt_keys
    from stapes.server.keyring import make_keyring
    from stapes.tokens.keys import parse_jwks

    if source is None:
        with open_own(home, with_keys=False) as own:
            return dict(make_keyring(own.store.signing_keys(), {}).public)
    if "://" in source:
        return fetch_receipt_keys(source)
    try:
        return parse_jwks(json.loads(_read(source)))
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"{source} is no JWK set: {error}") from error


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ReceiptError(f"cannot read {file}: {error.strerror}") from error


def _parse(content: bytes) -> dict[str, Any]:
    try:
        receipt = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"the receipt is no JSON: {error}") from error
    if not isinstance(receipt, dict):
        raise ReceiptError("the receipt is no JSON object")
    return receipt


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member that is there twice would be read as one value here and as another elsewhere."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members
