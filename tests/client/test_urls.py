"""Addresses of operations."""

from __future__ import annotations

import pytest

from stapes.client.urls import is_loopback, receipt_keys_url, stream_url, token_url
from stapes.errors import ClientError


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/transcribe/stream"),
        ("https://speech.example.org/", "wss://speech.example.org/ws/transcribe/stream"),
        ("ws://[::1]:9", "ws://[::1]:9/ws/transcribe/stream"),
        ("https://example.org/speech/", "wss://example.org/speech/ws/transcribe/stream"),
    ],
)
def test_streams_are_opened_at(base: str, expected: str) -> None:
    """The websocket's scheme follows that of the base URL."""
    assert stream_url(base, {}) == expected


def test_parameters_become_the_query() -> None:
    """Values are percent-encoded, so that a ``;`` cannot be taken for a separator."""
    url = stream_url("http://h", {"encoding": "audio/raw;rate=16000", "languageCode": "en-US"})
    assert url.endswith("?encoding=audio%2Fraw%3Brate%3D16000&languageCode=en-US")


def test_tokens_are_minted_at() -> None:
    """A slash at the end of the base URL makes no difference."""
    expected = "http://h:1/20220101/actions/realtimeSessionToken"
    assert token_url("http://h:1") == token_url("http://h:1/") == expected


@pytest.mark.parametrize("base", ["127.0.0.1:8080", "ftp://h", "http://", "http://h:x", "http://["])
def test_what_is_no_base_url_is_refused(base: str) -> None:
    """With an example of one."""
    with pytest.raises(ClientError, match=r"one like http://127\.0\.0\.1:8080"):
        token_url(base)
    with pytest.raises(ClientError, match="is no URL of a server"):
        stream_url(base, {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("ws://[::1]:1/x", True),
        ("http://localhost", True),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_recognised(url: str, *, expected: bool) -> None:
    """Only such a URL is kept from the proxies of the environment."""
    assert is_loopback(url) is expected


@pytest.mark.parametrize("base", ["https://h/speech/", "http://localhost:1", "http://[::1]:1"])
def test_keys_of_receipts_are_fetched_from(base: str) -> None:
    """By TLS, or from this machine."""
    expected = base.rstrip("/") + "/.well-known/receipt-keys.json"
    assert receipt_keys_url(base) == expected


@pytest.mark.parametrize("base", ["http://h", "ws://127.0.0.1:1", "wss://h", "http://10.0.0.1"])
def test_keys_of_receipts_are_fetched_from_nowhere_else(base: str) -> None:
    """Somebody on the way could put others in their place."""
    with pytest.raises(ClientError, match="https://, or be this machine"):
        receipt_keys_url(base)
