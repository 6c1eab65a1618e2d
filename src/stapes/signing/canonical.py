"""What is signed: names, values, the signing string and its date. Signer and verifier share it.

Source: OCI request signatures v1, which follows draft-cavage-http-signatures-08 section 2.3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from stapes.errors import MalformedSignatureError, SignatureTargetError

REQUEST_TARGET = "(request-target)"
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_ALWAYS = (REQUEST_TARGET, "host")
_WITH_BODY = ("content-length", "content-type", "x-content-sha256")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# One digit of day is let through: Java's RFC 1123 formatter writes it so.
_DATE = re.compile(
    rf"(?:{'|'.join(_DAYS)}), ([0-9]{{1,2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_AUTHORITY = r"(?:[\w.~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"  # RFC 3986 section 3.2
_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*://({_AUTHORITY})((?:[/?][^#]*)?)(?:#.*)?", re.ASCII | re.DOTALL
)

Fields = Mapping[str, str | None]
"""Header values by lower-cased name; None stands for a name that came more than once."""


def fields_of(headers: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Headers by lower-cased name; one that is repeated, in whatever case, has no value."""
    fields: dict[str, str | None] = {}
    for name, value in headers:
        lowered = name.lower()
        fields[lowered] = None if lowered in fields else value
    return fields


def field_value(fields: Fields, name: str) -> str:
    """The one value of a header, without the blanks around it.

    Raises `MalformedSignatureError` when it is missing, repeated, or not printable ASCII: a line
    break in a value would let one signing string stand for two requests.
    """
    value = one_value(fields, name)
    if value.isascii() and value.isprintable():  # as `_printable`, which costs a call
        return value
    raise _unsignable(name)


def one_value(fields: Fields, name: str) -> str:
    """The one value of a header, whatever it is, without the blanks around it.

    Raises `MalformedSignatureError` when it is missing or repeated.
    """
    value = fields.get(name)
    if value is None:
        raise MalformedSignatureError(f"{name} is missing or repeated")
    return value.strip(" ")


def required_names(method: str) -> tuple[str, ...]:
    """The names that have to be signed for a method, beside the date."""
    return _ALWAYS if method.upper() in _BODILESS else _ALWAYS + _WITH_BODY


def signing_string(names: Iterable[str], method: str, target: str, fields: Fields) -> bytes:
    """The bytes that are signed: a line per name, in the order of the names.

    ``target`` is the raw path and query. Raises `MalformedSignatureError` as `field_value` does.
    """
    own = f"{method.lower()} {_printable(REQUEST_TARGET, target)}"
    lines = [
        f"{name}: {own if name == REQUEST_TARGET else field_value(fields, name)}" for name in names
    ]
    return "\n".join(lines).encode("ascii")


def digest(body: bytes) -> str:
    """The ``x-content-sha256`` of a body: base64 of its SHA-256."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")


def split_uri(uri: str) -> tuple[str, str]:
    """Authority and raw request-target of an absolute URI; the target is ``/`` at least.

    By hand, because the library's parser drops characters that the signature covers. Raises
    `SignatureTargetError`.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise SignatureTargetError("uri is not absolute")
    authority, target = found.groups()
    return authority, target if target.startswith("/") else f"/{target}"


@lru_cache(64)  # in one second many requests bear the same date
def parse_date(text: str) -> datetime:
    """Parse an HTTP date (RFC 9110 section 5.6.7). Raises `MalformedSignatureError`."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise MalformedSignatureError("the date is not an HTTP date")
    day, month, *rest = found.groups()
    year, hour, minute, second = map(int, rest)
    try:
        month_number = _MONTHS.index(month) + 1
        return datetime(year, month_number, int(day), hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise MalformedSignatureError("the date does not exist") from error


def format_date(moment: datetime) -> str:
    """An aware time as an HTTP date, in English whatever the locale."""
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day}, {utc.day:02d} {month} {utc.year:04d} {utc:%H:%M:%S} GMT"


def _printable(name: str, value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    raise _unsignable(name)


def _unsignable(name: str) -> MalformedSignatureError:
    return MalformedSignatureError(f"{name} has characters that cannot be signed")
