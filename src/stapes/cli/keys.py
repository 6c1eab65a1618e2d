"""``stapes keys``: the keys that sign session tokens, and the master key that encrypts them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.moments import format_moment
from stapes.cli.own_store import Own, open_own
from stapes.cli.terminal import AsJson, HomeFolder, local_actor

if TYPE_CHECKING:
    from pydantic import SecretStr

    from stapes.server.keyring import Keyring
    from stapes.server.rotation import Rotated, Rotation
    from stapes.store.records import SigningKeyAdded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The keys that sign session tokens. A running server follows within a second.\n\n"
    "For example:\n\n- stapes keys list\n- stapes keys rotate",
)

AtOnce = Annotated[
    bool,
    typer.Option("--now", help="Refuse old keys at once: tokens that they signed die."),
]
NEW_MASTER_KEY = "STAPES_NEW_MASTER_KEY"
SHORTEST_MASTER_KEY = 16


@app.command("list")
def list_keys(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the keys, newest first, with what each is good for.

    For example:

    - stapes keys list --json
    """
    from stapes.server.rotation import read_keyring

    now = datetime.now(UTC)
    with open_own(home) as own:
        added, keyring = own.store.signing_keys(), read_keyring(own.home, own.store)
    if as_json:
        typer.echo(json.dumps([_key_object(key, keyring, now) for key in added]))
        return
    typer.echo(f"{'kid':<43}  {'since (UTC)':<19}  state")
    for key in added:
        typer.echo(f"{key.kid:<43}  {format_moment(key.added_at)}  {_told(key, keyring, now)}")


@app.command()
def rotate(home: HomeFolder = None, at_once: AtOnce = False) -> None:
    """Make a new key, which signs from now on; the others verify until their tokens expired.

    The settings have to be those of the server: token_ttl_s says how long that is. Private parts
    of keys that retired more than a day ago are deleted.

    For example:

    - stapes keys rotate
    - stapes keys rotate --now
    """
    from stapes.server.rotation import rotate as rotate_keys

    with open_own(home) as own:
        _tell(rotate_keys(own.home, own.store, _rotation(own, at_once)), at_once)


@app.command()
def replace(home: HomeFolder = None, at_once: AtOnce = False) -> None:
    """Make a new key where the private parts, or the master key, are lost.

    It is encrypted with STAPES_MASTER_KEY, if there is one. Files of other keys become lost-*.pem.

    For example:

    - stapes keys replace
    """
    from stapes.server.rotation import replace_lost

    with open_own(home, with_keys=False) as own:
        _tell(replace_lost(own.home, own.store, _rotation(own, at_once)), at_once)


def _tell(done: Rotated, at_once: bool) -> None:
    typer.echo(f"New tokens are signed with {done.kid}.")
    for kid, moment in done.retired.items():
        typer.echo(f"{kid} {_refused(moment, at_once)}")
    for kid in done.deleted:
        typer.echo(f"{kid} retired long ago; its private part was deleted.")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="The key, as listed.", metavar="KID")],
    home: HomeFolder = None,
    at_once: AtOnce = False,
) -> None:
    """Retire one key of several; the only one that can sign is refused.

    For example:

    - stapes keys retire KID
    - stapes keys retire KID --now
    """
    from stapes.server.rotation import retire as retire_key

    with open_own(home) as own:
        moment = retire_key(own.home, own.store, kid, _rotation(own, at_once))
    typer.echo(f"{kid} {_refused(moment, at_once)}")


@app.command("master-key")
def change_master_key(
    home: HomeFolder = None,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the keys unencrypted.")] = False,
) -> None:
    """Encrypt the keys with another master key: the one in STAPES_NEW_MASTER_KEY.

    STAPES_MASTER_KEY has the one of now, if there is one. Restart servers with the new one
    afterwards.

    For example:

    - STAPES_NEW_MASTER_KEY=$(cat new.key) stapes keys master-key
    - stapes keys master-key --remove
    """
    from stapes.server.home import rekey_home
    from stapes.settings import load
    from stapes.store.records import Audited

    new = _new_master_key(remove)
    settings = load(home=home)
    rekeyed, keys = rekey_home(settings.home, settings.master_key, new, database=settings.database)
    with open_own(home, with_keys=False) as own:
        action = "masterkey.changed" if new else "masterkey.removed"
        tenancy = rekeyed.tenancy_id
        own.store.write([Audited(datetime.now(UTC), local_actor(), action, tenancy, tenancy)])
    typer.echo(f"Keys that are {'encrypted with the new master key' if new else 'plain'}: {keys}.")


def _new_master_key(remove: bool) -> SecretStr | None:
    from pydantic import SecretStr

    text = os.environ.get(NEW_MASTER_KEY, "")
    if remove == bool(text):
        raise typer.BadParameter(f"either set {NEW_MASTER_KEY} or give --remove")
    if text and len(text) < SHORTEST_MASTER_KEY:
        raise typer.BadParameter(f"{NEW_MASTER_KEY} needs {SHORTEST_MASTER_KEY} signs or more")
    return SecretStr(text) if text else None


def _rotation(own: Own, at_once: bool) -> Rotation:
    from stapes.server.rotation import Rotation, overlap

    settings = own.settings
    longest = overlap(settings.token_ttl_s, settings.token_skew_s)
    return Rotation(local_actor(), datetime.now(UTC), None if at_once else longest)


def _refused(moment: datetime, at_once: bool) -> str:
    if at_once:
        return "is refused from now on: session tokens that it signed, and what they opened, die."
    return f"verifies until {format_moment(moment)} UTC."


def _key_object(key: SigningKeyAdded, keyring: Keyring, now: datetime) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "timeAdded": key.added_at.isoformat(),
        "state": _state(key.kid, keyring, now),
        "timeRetires": key.retires_at.isoformat() if key.retires_at else None,
        "isPrivatePartHere": key.kid in keyring.private,
    }


def _state(kid: str, keyring: Keyring, now: datetime) -> str:
    if keyring.is_retired(kid, now):
        return "retired"
    signing = keyring.signing(now)
    return "signing" if signing and signing.kid == kid else "verifying"


def _told(key: SigningKeyAdded, keyring: Keyring, now: datetime) -> str:
    state = _state(key.kid, keyring, now)
    until = format_moment(key.retires_at) if key.retires_at else None
    words = {"retired": f"retired {until}"}.get(state, f"{state} until {until}" if until else state)
    is_elsewhere = state != "retired" and key.kid not in keyring.private
    return f"{words}, private part elsewhere" if is_elsewhere else words
