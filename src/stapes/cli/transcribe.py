"""``stapes transcribe``: audio in, text out."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.cli.formats import Format
from stapes.cli.terminal import Compartment, ConfigFile, ProfileName, fail
from stapes.errors import AudioError

if TYPE_CHECKING:
    from stapes.client.files import Source
    from stapes.client.profile import Server

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class _Wish:
    """How every source of a call is to be taken."""

    format: Format
    fast: bool
    headings: bool
    parameters: dict[str, str]


def transcribe(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Audio files, or - for standard input.", metavar="FILE…"),
    ] = None,
    *,
    mic: Annotated[
        bool, typer.Option("--mic", help="Transcribe the microphone until Ctrl-C.")
    ] = False,
    raw: Annotated[
        int | None,
        typer.Option(
            help="Standard input is raw s16le mono audio of this rate, taken as it comes.",
            metavar="HZ",
            min=4000,
            max=192000,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A running server.", show_default="one is started for the occasion"),
    ] = None,
    config_file: ConfigFile = None,
    profile: ProfileName = "DEFAULT",
    compartment: Compartment = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Send as fast as the server takes it.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
    language: Annotated[
        str | None, typer.Option(help="Language code.", show_default="en-US, or en for WHISPER")
    ] = None,
    model_type: Annotated[
        str | None,
        typer.Option(
            help="ORACLE or WHISPER: the kind of model that hears.", show_default="ORACLE"
        ),
    ] = None,
    partial_silence_ms: Annotated[
        int | None, typer.Option(help="Silence before a partial, ms.", show_default="0")
    ] = None,
    final_silence_ms: Annotated[
        int | None, typer.Option(help="Silence that settles a final, ms.", show_default="2000")
    ] = None,
    stabilize: Annotated[
        str | None,
        typer.Option(help="NONE, LOW, MEDIUM or HIGH: how settled partials are."),
    ] = None,
    punctuation: Annotated[str | None, typer.Option(help="NONE, SPOKEN or AUTO.")] = None,
) -> None:
    """Transcribe files, standard input or the microphone.

    Streams to the server of --url, or else to one that is started for the occasion. On a terminal
    the captions form before your eyes; in a pipe there is a line for each final.

    For example:

    - stapes transcribe talk.flac
    - stapes transcribe --fast --format srt talk.mp3 > talk.srt
    - stapes transcribe --model-type WHISPER --language auto talk.mp3
    - arecord -q -f S16_LE -r 16000 | stapes transcribe - --raw 16000
    - stapes transcribe --url http://127.0.0.1:8080 a.wav b.wav
    """
    from stapes.cli.own_server import server_at

    names = _names(files or [], mic=mic, raw=raw, format_=format_)
    sources = [source for name in names if (source := _open(name, raw)) is not None]
    parameters = {
        "languageCode": language,
        "modelType": model_type,
        "partialSilenceThresholdInMs": partial_silence_ms,
        "finalSilenceThresholdInMs": final_silence_ms,
        "stabilizePartialResults": stabilize,
        "punctuation": punctuation,
    }
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    wish = _Wish(format_, fast, len(names) > 1, given)
    done = 0
    if sources:
        with server_at(url, config_file, profile, compartment) as server:
            done = sum(_transcribe(server, source, wish) for source in sources)
    if done < len(names):
        raise typer.Exit(1)


def _names(files: list[str], *, mic: bool, raw: int | None, format_: Format) -> list[str | None]:
    """What to transcribe, in order; None stands for the microphone."""
    if mic and files:
        raise typer.BadParameter("give files or --mic, not both")
    if not mic and not files:
        raise typer.BadParameter("give at least one FILE, or - for standard input, or --mic")
    if raw is not None and files != [STANDARD_INPUT]:
        raise typer.BadParameter("--raw speaks of standard input: give it with - alone")
    if format_.is_subtitles and len(files) > 1:
        raise typer.BadParameter(f"--format {format_} takes one file at a time")
    return [None] if mic else list(files)


def _open(name: str | None, raw: int | None) -> Source | None:
    from stapes.client.files import bytes_source, file_source, microphone_source, raw_source

    try:
        if name is None:
            return microphone_source()
        if name != STANDARD_INPUT:
            return file_source(Path(name))
        if raw is not None:
            return raw_source(sys.stdin.buffer, raw, "standard input")
        return bytes_source(sys.stdin.buffer.read(), "standard input")
    except AudioError as error:
        fail(error)
        return None


def _transcribe(server: Server, source: Source, wish: _Wish) -> bool:
    """Transcribe one source and print it; whether it could be read to its end."""
    from stapes.cli.captions import captions_for
    from stapes.cli.formats import render
    from stapes.cli.listening import listen, mint

    is_text = wish.format is Format.TEXT
    if wish.headings and is_text:
        typer.echo(f"== {source.name}")
    captions = captions_for(source.duration_s, finals=is_text)
    token = mint(server)
    try:
        heard = asyncio.run(
            listen(server, token, source, wish.parameters, captions, fast=wish.fast)
        )
    except AudioError as error:
        fail(error)
        return False
    if not is_text:
        about = {
            "file": heard.name,
            "sessionId": heard.session_id,
            "durationInMs": heard.duration_ms,
        }
        typer.echo(render(wish.format, heard.finals, **about), nl=False)
    return True
