"""From a server's base URL to the addresses of its operations."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit, urlunsplit

from stapes.errors import ClientError

TOKEN_PATH = "/20220101/actions/realtimeSessionToken"  # noqa: S105 - a path
RECEIPT_KEYS_PATH = "/.well-known/receipt-keys.json"
STREAM_PATH = "/ws/transcribe/stream"
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def token_url(base: str) -> str:
    """Where tokens are minted, for a base URL such as ``http://127.0.0.1:8080``."""
    _check(base)
    return base.rstrip("/") + TOKEN_PATH


def receipt_keys_url(base: str) -> str:
    """Where the keys are that receipts are signed with. Raises `ClientError` unless by TLS or here.

    Keys that somebody on the way could replace would prove nothing.
    """
    scheme, _, _ = _check(base)
    if scheme != "https" and not (scheme == "http" and is_loopback(base)):
        raise ClientError(f"{base!r} has to begin with https://, or be this machine")
    return base.rstrip("/") + RECEIPT_KEYS_PATH


def stream_url(base: str, parameters: Mapping[str, str]) -> str:
    """Where streams are opened: ``http`` becomes ``ws``; ``parameters`` become the query."""
    scheme, netloc, path = _check(base)
    query = urlencode(parameters)
    return urlunsplit((_WEBSOCKET_SCHEMES[scheme], netloc, path + STREAM_PATH, query, ""))


def is_loopback(url: str) -> bool:
    """Whether the host is this machine, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check(base: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(base)
        usable = parts.scheme in _WEBSOCKET_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or brackets that do not close
        usable = None
    if not usable:
        raise ClientError(f"{base!r} is no URL of a server; write one like http://127.0.0.1:8080")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")
