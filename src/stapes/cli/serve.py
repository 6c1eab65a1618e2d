"""``stapes serve``: run the service."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.cli.terminal import HomeFolder

if TYPE_CHECKING:
    from stapes.server.running import Running


def serve(
    *,
    home: HomeFolder = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port; 0 takes a free one.", show_default="8080")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="The one engine that hears.", show_default="the best installed models"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The one installed model that hears; with --engine, the folder it loads.",
            metavar="NAME",
            show_default="the best for each language",
        ),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(help="Concurrent streams.", show_default="from the cores")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default="info")
    ] = None,
) -> None:
    """Serve REST and websocket on one port until SIGTERM or Ctrl-C.

    For example:

    - stapes serve
    - stapes serve --home /srv/stapes --port 9000
    - stapes serve --model zipformer-en
    """
    from stapes.server import logs, running
    from stapes.settings import load

    settings = load(
        home=home,
        host=host,
        port=port,
        engine=engine,
        model=model,
        streams=streams,
        log_level=log_level,
    )
    logs.configure(settings.log_level)
    running.serve(settings, _announce)


def _announce(running: Running) -> None:
    """Where it listens, and how to mint a token there."""
    from stapes.client.urls import is_loopback

    home = running.deployment.home
    host = running.deployment.settings.host
    if not is_loopback(f"http://[{host}]" if ":" in host else f"http://{host}"):
        typer.echo(f"Warning: {host} is not loopback, and there is no TLS.", err=True)
    config_file = shlex.quote(str(home.config_file))
    typer.echo(f"Stapes listens on {running.url} (Ctrl-C ends it).")
    typer.echo(f"Mint a token: stapes token --url {running.url} --config-file {config_file}")
    if hint := running.deployment.pool.advice():
        typer.echo(hint)
