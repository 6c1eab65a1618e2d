"""``stapes token``: mint a session token."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from stapes.cli.terminal import DEFAULT_URL, Compartment, ConfigFile, ProfileName

_WHOLE_NUMBER = re.compile(r"-?[0-9]+")


def token(
    *,
    url: Annotated[str, typer.Option(help="The server.")] = DEFAULT_URL,
    config_file: ConfigFile = None,
    profile: ProfileName = "DEFAULT",
    compartment: Compartment = None,
    freeform: Annotated[
        list[str] | None,
        typer.Option(help="A free-form tag; may be given again.", metavar="KEY=VALUE"),
    ] = None,
    defined: Annotated[
        list[str] | None,
        typer.Option(
            help="A defined tag; may be given again. true, false and whole numbers keep "
            "their type.",
            metavar="NAMESPACE.KEY=VALUE",
        ),
    ] = None,
) -> None:
    """Mint a session token and print it as JSON.

    The request is signed with the key of an OCI configuration file.

    For example:

    - stapes token
    - stapes token --freeform room=4 --defined stapes.single-use=true
    - stapes token --url https://speech.example.org --profile BACKEND
    """
    from stapes.client.profile import read_profile
    from stapes.client.tokens import mint_token
    from stapes.protocol.resources import CreateRealtimeSessionTokenDetails

    freeform_tags = parse_freeform(freeform or [])
    defined_tags = parse_defined(defined or [])
    signer = read_profile(config_file, profile)
    details = CreateRealtimeSessionTokenDetails(
        compartment_id=compartment or signer.compartment,
        freeform_tags=freeform_tags or None,
        defined_tags=defined_tags or None,
    )
    typer.echo(mint_token(url, signer, details).to_json())


def parse_freeform(tags: list[str]) -> dict[str, str]:
    """``KEY=VALUE`` each. Raises `typer.BadParameter`."""
    return dict(_split(tag, "=", "--freeform takes KEY=VALUE") for tag in tags)


def parse_defined(tags: list[str]) -> dict[str, dict[str, str | int | bool]]:
    """``NAMESPACE.KEY=VALUE`` each; a namespace has no period. Raises `typer.BadParameter`."""
    parsed: dict[str, dict[str, str | int | bool]] = {}
    for tag in tags:
        name, value = _split(tag, "=", "--defined takes NAMESPACE.KEY=VALUE")
        namespace, key = _split(name, ".", "--defined takes NAMESPACE.KEY=VALUE")
        parsed.setdefault(namespace, {})[key] = _typed(value)
    return parsed


def _split(text: str, separator: str, rule: str) -> tuple[str, str]:
    left, found, right = text.partition(separator)
    if not (left and found):
        raise typer.BadParameter(f"{rule}, not {text!r}")
    return left, right


def _typed(value: str) -> str | int | bool:
    if value in {"true", "false"}:
        return value == "true"
    return int(value) if _WHOLE_NUMBER.fullmatch(value) else value
