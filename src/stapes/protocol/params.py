"""The query parameters of the socket: one table, and the parser that reads it.

Source: `RealtimeParameters` of Oracle's "Speech API 20220101" specification; the old names
``shortPauseInMs`` and ``longPauseInMs`` are those of early clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from stapes.audio.encodings import ENCODINGS, Encoding, parse_encoding
from stapes.errors import InvalidParameterError
from stapes.protocol.stabilize import LEVELS

ORACLE_LANGUAGES = (
    *("en-US", "es-ES", "pt-BR", "en-GB", "en-AU"),
    *("en-IN", "hi-IN", "fr-FR", "de-DE", "it-IT"),
)
_WHISPER = """
auto af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he
hi hr ht hu hy id is it ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn
no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi
yo zh
"""
WHISPER_LANGUAGES = tuple(_WHISPER.split())

Parse = Callable[[str, str], Any]


def _choice(*allowed: str) -> Parse:
    by_folded = {value.casefold(): value for value in allowed}

    def parse(name: str, text: str) -> str:
        try:
            return by_folded[text.casefold()]
        except KeyError:
            raise InvalidParameterError(f"{name} must be one of {', '.join(allowed)}.") from None

    return parse


def _within(allowed: range) -> Parse:
    def parse(name: str, text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) in allowed:
            return int(text)
        raise InvalidParameterError(
            f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}."
        )

    return parse


def _flag(name: str, text: str) -> bool:
    return bool(_choice("true", "false")(name, text) == "true")


def _encoding(_name: str, text: str) -> Encoding:
    return parse_encoding(text)


def _text(_name: str, text: str) -> str:
    return text


def _customizations(name: str, text: str) -> tuple[dict[str, Any], ...]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InvalidParameterError(f"{name} must be a JSON array of objects.")
    return tuple(listed)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table: what the parser reads a parameter with, and what a document says of it.

    Attributes:
        name: its name on the wire.
        attribute: its field in `Params`.
        parse: how a value is read; takes the name that was used and the text.
        allowed: the values, or a range of whole numbers; empty when no list would do.
        default: what holds when it is not given, as it would be written.
        help: one line about it.
        aliases: other names it goes by.
    """

    name: str
    attribute: str
    parse: Parse
    allowed: tuple[str, ...] | range
    default: str
    help: str
    aliases: tuple[str, ...] = ()


_FLAGS = ("true", "false")
_PARTIAL_MS, _FINAL_MS = range(2001), range(5001)
_MODEL_TYPES, _DOMAINS = ("ORACLE", "WHISPER"), ("GENERIC", "MEDICAL")
_PUNCTUATION = ("NONE", "SPOKEN", "AUTO")

PARAMETERS = (
    Parameter(
        "encoding",
        "encoding",
        _encoding,
        allowed=tuple(ENCODINGS),
        default="audio/raw;rate=16000",
        help="format of the audio frames: mono, no header; PCM is signed, 16 bit, little-endian",
    ),
    Parameter(
        "isAckEnabled",
        "is_ack_enabled",
        _flag,
        allowed=_FLAGS,
        default="false",
        help="whether every audio frame is answered with ACKAUDIO",
    ),
    Parameter(
        "partialSilenceThresholdInMs",
        "partial_silence_ms",
        _within(_PARTIAL_MS),
        allowed=_PARTIAL_MS,
        default="0",
        help="silence that has to follow speech before a partial is sent, ms",
        aliases=("shortPauseInMs",),
    ),
    Parameter(
        "finalSilenceThresholdInMs",
        "final_silence_ms",
        _within(_FINAL_MS),
        allowed=_FINAL_MS,
        default="2000",
        help="silence after speech that makes a result final, ms",
        aliases=("longPauseInMs",),
    ),
    Parameter(
        "stabilizePartialResults",
        "stabilize",
        _choice(*LEVELS),
        allowed=tuple(LEVELS),
        default="NONE",
        help="how sure the last words of a partial have to be before they are shown; see Partials",
    ),
    Parameter(
        "modelType",
        "model_type",
        _choice(*_MODEL_TYPES),
        allowed=_MODEL_TYPES,
        default="ORACLE",
        help="family of models; a server takes those it has an engine for",
    ),
    Parameter(
        "modelDomain",
        "model_domain",
        _choice(*_DOMAINS),
        allowed=_DOMAINS,
        default="GENERIC",
        help="what is spoken about",
    ),
    Parameter(
        "languageCode",
        "language",
        _text,
        allowed=(*ORACLE_LANGUAGES, *WHISPER_LANGUAGES),
        default="en-US",
        help="what is spoken: a locale for ORACLE, a language (default en) for WHISPER",
    ),
    Parameter(
        "punctuation",
        "punctuation",
        _choice(*_PUNCTUATION),
        allowed=_PUNCTUATION,
        default="NONE",
        help="what adds marks to the engine's own: nothing, spoken marks, or a model and rules",
    ),
    Parameter(
        "customizations",
        "customizations",
        _customizations,
        allowed=(),
        default="[]",
        help="JSON array: which of the server's phrase lists are heard rather; see Phrase lists",
    ),
    Parameter(
        "shouldIgnoreInvalidCustomizations",
        "ignore_customizations",
        _flag,
        allowed=_FLAGS,
        default="false",
        help="whether customizations that cannot be used are passed over",
    ),
)


@dataclass(frozen=True, slots=True)
class Params:
    """What a client asked for. Defaults are the service's documented ones; times in ms."""

    encoding: Encoding = field(default_factory=lambda: parse_encoding("audio/raw;rate=16000"))
    is_ack_enabled: bool = False
    partial_silence_ms: int = 0
    final_silence_ms: int = 2000
    stabilize: str = "NONE"
    model_type: str = "ORACLE"
    model_domain: str = "GENERIC"
    language: str = ""
    punctuation: str = "NONE"
    customizations: tuple[dict[str, Any], ...] = ()
    ignore_customizations: bool = False


def split_query(query: str) -> dict[str, str]:
    """Names and values of a raw query string. ``;`` is part of a value; the last of equals wins."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def parse_params(query: str, content_type: str | None = None) -> Params:
    """Parameters from the raw query string of the upgrade.

    Args:
        query: what follows ``?``, undecoded; may be empty or end in ``&``.
        content_type: the upgrade's Content-Type, which older clients use in place of ``encoding``.

    Raises:
        InvalidParameterError: a value that is not allowed; the sentence names the parameter.
    """
    given = split_query(query)
    if content_type and "encoding" not in given and content_type.startswith("audio/"):
        given["encoding"] = content_type
    values = {
        row.attribute: row.parse(name, given[name])
        for row in PARAMETERS
        if (name := _name_used(row, given)) is not None
    }
    return Params(**{**values, "language": _language(values)})


def is_language(code: str, params: Params) -> bool:
    """Whether a language code, as a query could have it, is that of the parameters."""
    try:
        return _language({"model_type": params.model_type, "language": code}) == params.language
    except InvalidParameterError:
        return False


def _name_used(row: Parameter, given: Mapping[str, str]) -> str | None:
    return next((name for name in (row.name, *row.aliases) if name in given), None)


def _language(values: Mapping[str, Any]) -> str:
    whisper = values.get("model_type") == "WHISPER"
    code = values.get("language", "en" if whisper else "en-US")
    if not whisper and code.casefold() == "en":
        return "en-US"
    language: str = _choice(*(WHISPER_LANGUAGES if whisper else ORACLE_LANGUAGES))(
        "languageCode", code
    )
    return language
