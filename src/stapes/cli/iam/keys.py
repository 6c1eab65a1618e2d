"""``stapes iam key``."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.iam.expiry import parse_expiry
from stapes.cli.iam.lists import print_list
from stapes.cli.iam.register import Register, TenancyName, make_change, open_register
from stapes.cli.terminal import AsJson, HomeFolder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from stapes.identity.model import ApiKey, BearerKey, User

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Keys: what users prove themselves with."
)
WhichUser = Annotated[str, typer.Argument(help="By name or OCID.", metavar="USER")]
WhichKey = Annotated[
    str, typer.Argument(help="Fingerprint of an API key, or id of a bearer key.", metavar="KEY")
]


@app.command()
def add(
    *,
    user: WhichUser,
    public_key: Annotated[
        Path | None, typer.Option(help="An API key: the public RSA key of a PEM file.")
    ] = None,
    generate: Annotated[
        Path | None, typer.Option(help="An API key: make a pair, in this file or folder.")
    ] = None,
    bearer: Annotated[
        bool, typer.Option("--bearer", help="A bearer key, for clients that cannot sign.")
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option(help="90d, 12h, or a date or time (UTC).", show_default="never"),
    ] = None,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
) -> None:
    """Add a key of a user, who may have several.

    Of an API key a profile for an OCI SDK configuration file is printed. A bearer key is printed
    once and kept nowhere; it goes into the header Authorization: Bearer KEY.

    For example:

    - stapes iam key add backend --generate backend.pem >> oci.config
    - stapes iam key add backend --public-key backend_public.pem
    - stapes iam key add backend --bearer --expires 90d
    """
    from stapes.identity.naming import find_user

    if (public_key is not None) + (generate is not None) + bearer != 1:
        raise typer.BadParameter("give one of --public-key, --generate and --bearer")
    now = datetime.now(UTC)
    expires_at = parse_expiry(expires, now) if expires else None
    with open_register(home) as register:
        owner = find_user(register.directory, register.tenancy_id(tenancy), user)
        if public_key is not None:
            _add_public(register, owner, public_key, expires_at, now)
        elif generate is not None:
            _add_generated(register, owner, generate, expires_at, now)
        else:
            _add_bearer(register, owner, expires_at, now)


@app.command(name="list")
def list_(
    user: Annotated[
        str | None,
        typer.Argument(help="By name or OCID.", metavar="[USER]", show_default="all users"),
    ] = None,
    tenancy: TenancyName = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List keys; secrets are not known and not shown."""
    from stapes.identity.naming import find_user

    with open_register(home) as register:
        directory, tenancy_id = register.directory, register.tenancy_id(tenancy)
    users = [it for it in directory.users.values() if it.tenancy_id == tenancy_id]
    if user is not None:
        users = [find_user(directory, tenancy_id, user)]
    keys: list[ApiKey | BearerKey] = [*directory.api_keys.values(), *directory.bearer_keys.values()]
    now = datetime.now(UTC)
    objects = [
        _key_object(it, owner, now)
        for owner in sorted(users, key=lambda it: it.name.lower())
        for it in keys
        if it.user_id == owner.id
    ]
    columns = {"user": "user", "kind": "kind", "state": "state", "timeExpires": "expires"}
    print_list(objects, {**columns, "key": "key"}, as_json=as_json)


@app.command()
def disable(
    user: WhichUser, key: WhichKey, tenancy: TenancyName = None, home: HomeFolder = None
) -> None:
    """Refuse a key from now on; tokens that it minted stay good until they expire."""
    _enable(user, key, tenancy, home, enabled=False)
    typer.echo(f"Disabled key {key} of user {user}.")


@app.command()
def enable(
    user: WhichUser, key: WhichKey, tenancy: TenancyName = None, home: HomeFolder = None
) -> None:
    """Accept a key that was disabled."""
    _enable(user, key, tenancy, home, enabled=True)
    typer.echo(f"Enabled key {key} of user {user}.")


@app.command()
def remove(
    user: WhichUser, key: WhichKey, tenancy: TenancyName = None, home: HomeFolder = None
) -> None:
    """Remove a key; tokens that it minted stay good until they expire."""
    from stapes.identity.key_changes import remove_key

    make_change(home, tenancy, remove_key, user, key)
    typer.echo(f"Removed key {key} of user {user}.")


def _enable(user: str, key: str, tenancy: str | None, home: Path | None, *, enabled: bool) -> None:
    from stapes.identity.key_changes import enable_key

    make_change(home, tenancy, enable_key, user, key, enabled=enabled)


def _add_public(
    register: Register, user: User, path: Path, expires_at: datetime | None, now: datetime
) -> None:
    from stapes.cli.iam.key_files import config_profile, read_public_key
    from stapes.identity.key_changes import add_key

    key = _api_key(user, read_public_key(path), expires_at)
    register.write(add_key(register.directory, key), now)
    _tell(key, user)
    typer.echo(config_profile(user, key, "FILE-OF-THE-PRIVATE-KEY"))


def _add_generated(
    register: Register, user: User, path: Path, expires_at: datetime | None, now: datetime
) -> None:
    from stapes.cli.iam.key_files import config_profile, remove_files, write_key_pair
    from stapes.identity.key_changes import add_key

    place = (path / f"{user.name}.pem" if path.is_dir() else path).absolute()
    public_key, files = write_key_pair(place)
    key = _api_key(user, public_key, expires_at)
    try:
        register.write(add_key(register.directory, key), now)
    except BaseException:
        remove_files(files)
        raise
    _tell(key, user)
    typer.echo(config_profile(user, key, str(place)))


def _add_bearer(register: Register, user: User, expires_at: datetime | None, now: datetime) -> None:
    from stapes.identity.bearer import ENTROPY_BYTES, make_bearer_key
    from stapes.identity.key_changes import add_key

    key, text = make_bearer_key(user.id, secrets.token_bytes(ENTROPY_BYTES), expires_at)
    register.write(add_key(register.directory, key), now)
    _tell(key, user)
    typer.echo("This is the only time that it is shown:", err=True)
    typer.echo(text)


def _api_key(user: User, key: RSAPublicKey, expires_at: datetime | None) -> ApiKey:
    from stapes.identity.model import ApiKey
    from stapes.server.key_files import public_pem
    from stapes.signing.fingerprint import fingerprint

    return ApiKey(user.id, fingerprint(key), public_pem(key), expires_at=expires_at)


def _tell(key: ApiKey | BearerKey, user: User) -> None:
    """On standard error, so that standard output can go into a file as it is."""
    from stapes.identity.key_changes import name_of

    until = f" until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
    typer.echo(f"Added key {name_of(key)} of user {user.name}{until}.", err=True)


def _key_object(key: ApiKey | BearerKey, user: User, now: datetime) -> dict[str, Any]:
    from stapes.identity.key_changes import name_of
    from stapes.identity.model import ApiKey

    expired = key.expires_at is not None and key.expires_at <= now
    return {
        "user": user.name,
        "userId": user.id,
        "kind": "api" if isinstance(key, ApiKey) else "bearer",
        "key": name_of(key),
        "state": "disabled" if not key.enabled else "expired" if expired else "active",
        "timeExpires": key.expires_at.isoformat() if key.expires_at else None,
    }
