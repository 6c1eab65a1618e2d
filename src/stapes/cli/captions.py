"""What people see while audio is transcribed: live captions on a terminal, lines in a pipe."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from stapes.client.results import Result


class Captions(AbstractContextManager["Captions"], Protocol):
    """Follows one transcription."""

    def sent(self, audio_ms: int) -> None:
        """Audio up to ``audio_ms`` has been sent."""
        ...

    def heard(self, result: Result) -> None:
        """A partial or final result has come."""
        ...


class LineCaptions:
    """Lines on standard output: finals when ``finals``, partials too when ``partials``."""

    def __init__(self, *, finals: bool, partials: bool = False) -> None:
        self._finals = finals
        self._partials = partials

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def sent(self, audio_ms: int) -> None:
        """Lines do not show progress."""

    def heard(self, result: Result) -> None:
        """Print it, if it is of a kind to be printed."""
        if not result.text:
            return
        if result.is_final and self._finals:
            _print_line(result.text)
        elif not result.is_final and self._partials:
            _print_line(f"  … {result.text}")


class LiveCaptions:
    """A line that forms, above a bar, on the terminal; finals settle as lines above it.

    The live part is on standard error, so that standard output may go into a file meanwhile.
    """

    def __init__(self, duration_s: float | None, *, finals: bool) -> None:
        self._finals = finals
        self._partial = Text(style="dim")
        self._progress = Progress(
            SpinnerColumn(),
            *([BarColumn(), TextColumn("{task.percentage:>3.0f} %")] if duration_s else []),
            TextColumn("{task.fields[clock]}"),
        )
        self._task = self._progress.add_task("", total=duration_s, clock="")
        self._live = Live(
            Group(self._partial, self._progress),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def sent(self, audio_ms: int) -> None:
        """Move the bar on."""
        seconds = audio_ms / 1000
        clock = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
        self._progress.update(self._task, completed=seconds, clock=clock)

    def heard(self, result: Result) -> None:
        """Show a partial in place of the one before; settle a final."""
        self._partial.plain = "" if result.is_final else result.text
        if result.is_final and result.text and self._finals:
            _print_line(result.text)


def captions_for(duration_s: float | None, *, finals: bool) -> LineCaptions | LiveCaptions:
    """Live captions when somebody watches, lines otherwise."""
    if sys.stderr.isatty():
        return LiveCaptions(duration_s, finals=finals)
    return LineCaptions(finals=finals)


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
