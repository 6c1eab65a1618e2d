"""The log: structured lines on standard error.

JSON where a program reads them, key=value on a terminal. What must never be in a log is withheld
by name here as well, should a call site ever forget.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TextIO

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD = frozenset(
    {
        "audio",
        "authorization",
        "body",
        "headers",
        "key",
        "pcm",
        "private_key",
        "query",
        "query_string",
        "signature",
        "text",
        "token",
        "transcription",
        "url",
        "words",
    }
)
_QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets", "alembic")

_encode = json.JSONEncoder(default=repr).encode


def stamp(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Say who speaks how loudly and when, as structlog's own processors would, in one go."""
    event["level"] = "error" if method == "exception" else method
    event["logger"] = logger.name
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    event["timestamp"] = f"{_second(second)}.{nanoseconds // 1000:06d}Z"
    return event


@lru_cache(1)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """One line of JSON, in ASCII: a terminal would obey some of the other signs."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    try:
        line = to_json(event, fallback=repr)
    except ValueError:  # half a surrogate pair
        return _encode(event)
    return line.decode("ascii") if line.isascii() else _encode(event)


def withhold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace the value of every field that may not be logged."""
    if WITHHELD.isdisjoint(event):
        return event
    return {name: "[withheld]" if name in WITHHELD else value for name, value in event.items()}


def escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Spell out what a terminal would obey: a path, say, can hold any sign."""
    return {
        name: value if not isinstance(value, str) or value.isprintable() else ascii(value)
        for name, value in event.items()
    }


class _Lines:
    """Where our own lines go: one write each, so that those of two threads do not mix."""

    def __init__(self, file: TextIO, name: str = "stapes") -> None:
        self.name = name
        self._file = file

    def msg(self, line: str) -> None:
        """Write a line."""
        self._file.write(line + "\n")

    debug = info = warning = error = exception = critical = msg


def configure(level: str) -> None:
    """Send structlog's and the standard library's lines to standard error, from ``level`` up.

    Libraries speak from warnings up only: at info they would log request targets with queries.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold,
    ]
    # Our own lines do not take the way through the standard library: it costs more than verifying
    # a signature.
    structlog.configure(
        processors=[stamp, withhold, *_rendering(sys.stderr.isatty())],
        logger_factory=partial(_Lines, sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _rendering(terminal: bool) -> list[Any]:
    """Tracebacks come without local variables: those hold tokens and audio."""
    if terminal:
        plain = structlog.dev.plain_traceback
        return [escape, structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [render]
