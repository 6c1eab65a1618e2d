"""What is signed: fields, signing string, URI and date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.errors import MalformedSignatureError, SignatureTargetError
from stapes.signing.canonical import (
    digest,
    field_value,
    fields_of,
    format_date,
    parse_date,
    required_names,
    signing_string,
    split_uri,
)


def test_the_signing_string_has_a_line_per_name_in_their_order() -> None:
    """Names are lower-case, values as they came, no line break at the end."""
    fields = fields_of([("Date", "d"), ("HOST", " h "), ("Content-Type", "a;b")])
    names = ("host", "(request-target)", "content-type", "date")
    text = signing_string(names, "POST", "/p?q=%2F;", fields)
    assert text == b"host: h\n(request-target): post /p?q=%2F;\ncontent-type: a;b\ndate: d"


@pytest.mark.parametrize(
    "headers",
    [[], [("date", "a"), ("Date", "a")], [("date", "a\nb")], [("date", "ä")], [("date", "\x7f")]],
    ids=["missing", "repeated", "line break", "not ascii", "control"],
)
def test_a_value_that_cannot_be_signed_is_malformed(headers: list[tuple[str, str]]) -> None:
    """Missing, repeated and unprintable values are refused."""
    with pytest.raises(MalformedSignatureError):
        field_value(fields_of(headers), "date")


@pytest.mark.parametrize("target", ["/a\nhost: other", "/ä"])
def test_a_target_that_cannot_be_signed_is_malformed(target: str) -> None:
    """A line break in the target cannot add a line to the signing string."""
    with pytest.raises(MalformedSignatureError):
        signing_string(("(request-target)",), "GET", target, {})


def test_bodies_have_to_be_signed_where_there_may_be_one() -> None:
    """All methods but three have to sign the body's headers too."""
    without = {"(request-target)", "host"}
    for method in ("GET", "get", "HEAD", "DELETE"):
        assert set(required_names(method)) == without
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "X"):
        with_body = without | {"content-length", "content-type", "x-content-sha256"}
        assert set(required_names(method)) == with_body


def test_the_digest_of_nothing_is_the_documented_one() -> None:
    """The digest is base64 of SHA-256."""
    assert digest(b"") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    ("uri", "authority", "target"),
    [
        ("wss://host/", "host", "/"),
        ("wss://host", "host", "/"),
        ("ws://host:80?a=b", "host:80", "/?a=b"),
        ("https://h/ws/transcribe/stream?a=b/c;d", "h", "/ws/transcribe/stream?a=b/c;d"),
        ("ws://h/a%2Fb?c=%3B#part", "h", "/a%2Fb?c=%3B"),
        ("ws://h//a?b?c", "h", "//a?b?c"),
        ("ws://[::1]:80/a", "[::1]:80", "/a"),
    ],
)
def test_a_uri_is_split_raw(uri: str, authority: str, target: str) -> None:
    """Nothing is decoded, and only a fragment is dropped."""
    assert split_uri(uri) == (authority, target)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/ws/transcribe/stream",
        "host/path",
        "://h/",
        "1s://h/",
        "ws:///a",
        "ws://h:80x/",
        "ws://h:/",
        "ws://user@h/",
        "ws://[::1/",
    ],
)
def test_a_uri_has_to_be_absolute(uri: str) -> None:
    """Without a scheme and a host there is no telling what was signed."""
    with pytest.raises(SignatureTargetError):
        split_uri(uri)


@pytest.mark.parametrize("day", ["Sun, 01 Nov 2026", "Sun, 1 Nov 2026"])
def test_a_date_is_read_with_one_digit_of_day_or_two(day: str) -> None:
    """Both spellings of a day are in use."""
    assert parse_date(f"{day} 01:02:03 GMT") == datetime(2026, 11, 1, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22T11:58:40Z",
        "Sun, 22 Nov 2026 11:58:40",
        "Sun, 22 Nov 2026 11:58:40 +0000",
        "Sun, 22 Nov 26 11:58:40 GMT",
        "Sun, 31 Feb 2026 11:58:40 GMT",
        "Sun, 22 Nov 2026 24:58:40 GMT",
        "Sun, 22 Nov 0000 11:58:40 GMT",
        "Sun, 22 Foo 2026 11:58:40 GMT",
        "Sun, 2\u0662 Nov 2026 11:58:40 GMT",
        "Sun, 22 Nov 2026 11:58:40 GMT\n",
    ],
)
def test_another_form_of_date_is_malformed(text: str) -> None:
    """Only an HTTP date that exists is one."""
    with pytest.raises(MalformedSignatureError):
        parse_date(text)


def test_a_date_is_written_in_gmt() -> None:
    """A time of any zone is written as the same instant in GMT."""
    there = datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_date(there) == "Sat, 21 Nov 2026 23:00:00 GMT"


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_date_reads_back(moment: datetime) -> None:
    """Writing and reading loses the fraction of the second and nothing else."""
    assert parse_date(format_date(moment)) == moment.replace(microsecond=0)
