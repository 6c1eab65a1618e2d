"""The targets: each takes bytes as a peer could send them, and lets pass the named errors alone.

Whatever else is raised is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from stapes.errors import (
    AuthenticationExpectedError,
    InvalidParameterError,
    MalformedSignatureError,
    UnknownKeyError,
)
from stapes.protocol.messages import is_final_requested, parse_authentication
from stapes.protocol.params import parse_params
from stapes.signing.authorization import parse_authorization


def authorization(data: bytes) -> None:
    """An ``Authorization`` header."""
    with suppress(MalformedSignatureError, UnknownKeyError):
        parse_authorization(data.decode("latin-1"))


def query(data: bytes) -> None:
    """The query string of an upgrade; after a line feed its Content-Type, if there is one."""
    text, _, content_type = data.decode("latin-1").partition("\n")
    with suppress(InvalidParameterError):
        parse_params(text, content_type or None)


def text(data: bytes) -> None:
    """A text frame, before and after CONNECT. It is UTF-8: no other one gets past the socket."""
    frame = data.decode(errors="ignore")
    is_final_requested(frame)
    with suppress(AuthenticationExpectedError):
        parse_authentication(frame)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "authorization": authorization,
    "query": query,
    "text": text,
}
