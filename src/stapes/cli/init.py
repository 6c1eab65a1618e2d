"""``stapes init``: make a home folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from stapes.cli.terminal import AsJson, HomeFolder


def init(
    home: HomeFolder = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="URL of an empty PostgreSQL database for the records; better in STAPES_DATABASE "
            "when it has a password.",
            metavar="URL",
            show_default="stapes.db in the home",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a home: a tenancy, its administrator with an API key, a signing key, a database.

    Run again, it changes nothing and says so.

    For example:

    - stapes init
    - stapes init --home /srv/stapes --json
    - stapes init --database postgresql://stapes@db.example/stapes
    """
    from stapes.server.new_home import create_home
    from stapes.settings import load

    settings = load(home=home, database=database)
    made, is_new = create_home(
        settings.home,
        datetime.now(UTC),
        master_key=settings.master_key,
        database=settings.database,
    )
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
    setting = "" if database is None else "STAPES_DATABASE=URL "
    typer.echo(f"Now run: {setting}stapes serve{option}")
