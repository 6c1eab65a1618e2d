"""The log: structured lines on standard error.

JSON where a program reads them, key=value on a terminal. What must never be in a log is withheld
by name here as well, should a call site ever forget.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
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


def withhold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace the value of every field that may not be logged."""
    return {name: "[withheld]" if name in WITHHELD else value for name, value in event.items()}


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
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
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
        return [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
