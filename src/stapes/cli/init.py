"""``stapes init``: make a home folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import typer

from stapes.cli.terminal import AsJson, HomeFolder


def init(home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Make a home: a tenancy, its administrator with an API key, a signing key, a database.

    Run again, it changes nothing and says so.

    For example:

    - stapes init
    - stapes init --home /srv/stapes --json
    """
    from stapes.server.home import create_home
    from stapes.settings import load

    settings = load(home=home)
    made, is_new = create_home(settings.home, datetime.now(UTC), settings.master_key)
    values = {
        "home": str(made.path),
        "tenancy": made.tenancy_id,
        "user": made.user_id,
        "compartment": made.compartment_id,
        "config_file": str(made.config_file),
        "profile": made.profile,
    }
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    typer.echo("Made a new home." if is_new else "There is a home already; nothing was changed.")
    for name, value in values.items():
        typer.echo(f"  {name:<12} {value}")
    option = "" if home is None else f" --home {made.path}"
    typer.echo(f"Now run: stapes serve{option}")
