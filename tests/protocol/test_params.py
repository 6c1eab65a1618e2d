"""Every parameter of the query string: its default, its range, its aliases, its faults."""

from __future__ import annotations

import pytest

from stapes.audio.encodings import ENCODINGS
from stapes.errors import InvalidParameterError
from stapes.protocol.params import PARAMETERS, Params, parse_params

PYTHON_CLIENT = (
    "isAckEnabled=false&encoding=audio/raw;rate=16000&shouldIgnoreInvalidCustomizations=false"
    "&partialSilenceThresholdInMs=0&finalSilenceThresholdInMs=2000&languageCode=en-US"
    "&modelDomain=GENERIC&stabilizePartialResults=NONE"
)
WEB_CLIENT = (
    "isAckEnabled=false&encoding=audio/raw;rate=16000&languageCode=en-US&modelDomain=GENERIC"
    "&stabilizePartialResults=MEDIUM&shouldIgnoreInvalidCustomizations=false&"
)


@pytest.mark.parametrize("query", ["", "&", PYTHON_CLIENT, "unknown=1&freeFormTags=x"])
def test_defaults_hold_when_nothing_else_is_asked(query: str) -> None:
    """No query, a lone separator, the official client's defaults and unknown names: defaults."""
    assert parse_params(query) == Params(language="en-US")


def test_a_trailing_separator_changes_nothing() -> None:
    """The browser client ends its query with an ampersand."""
    assert parse_params(WEB_CLIENT) == Params(language="en-US", stabilize="MEDIUM")


@pytest.mark.parametrize(
    ("query", "attribute", "value"),
    [
        ("isAckEnabled=TRUE", "is_ack_enabled", True),
        ("partialSilenceThresholdInMs=0", "partial_silence_ms", 0),
        ("partialSilenceThresholdInMs=2000", "partial_silence_ms", 2000),
        ("finalSilenceThresholdInMs=0", "final_silence_ms", 0),
        ("finalSilenceThresholdInMs=5000", "final_silence_ms", 5000),
        ("shortPauseInMs=150", "partial_silence_ms", 150),
        ("longPauseInMs=700", "final_silence_ms", 700),
        ("longPauseInMs=700&finalSilenceThresholdInMs=900", "final_silence_ms", 900),
        ("stabilizePartialResults=high", "stabilize", "HIGH"),
        ("modelType=oracle", "model_type", "ORACLE"),
        ("modelDomain=Medical", "model_domain", "MEDICAL"),
        ("languageCode=EN-us", "language", "en-US"),
        ("languageCode=en", "language", "en-US"),
        ("languageCode=pt-BR", "language", "pt-BR"),
        ("modelType=WHISPER", "language", "en"),
        ("modelType=WHISPER&languageCode=auto", "language", "auto"),
        ("punctuation=auto", "punctuation", "AUTO"),
        ("customizations=%5B%5D", "customizations", ()),
        (
            "customizations=%5B%7B%22customizationAlias%22:%22drugs%22%7D%5D",
            "customizations",
            ({"customizationAlias": "drugs"},),
        ),
        (
            "customizations=%5B%7B%22a%22:+1%7D%5D&shouldIgnoreInvalidCustomizations=true",
            "customizations",
            ({"a": 1},),
        ),
    ],
)
def test_a_value_reaches_its_field(query: str, attribute: str, value: object) -> None:
    """Values are matched without regard to case; the newer name wins over an alias."""
    assert getattr(parse_params(query), attribute) == value


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_come_raw_and_percent_encoded(name: str) -> None:
    """A semicolon is part of the value, whether or not the client encodes it."""
    quoted = name.replace("/", "%2F").replace(";", "%3B").replace("=", "%3D")
    assert parse_params(f"encoding={name}").encoding == ENCODINGS[name]
    assert parse_params(f"encoding={quoted}&isAckEnabled=true").encoding == ENCODINGS[name]


def test_the_content_type_stands_in_for_a_missing_encoding() -> None:
    """Older clients send the encoding as a header of the upgrade; the query wins."""
    mulaw = "audio/raw;rate=8000;codec=mulaw"
    assert parse_params("", mulaw).encoding == ENCODINGS[mulaw]
    assert parse_params("encoding=audio/raw;rate=8000", mulaw).encoding.codec == "pcm"
    assert parse_params("", "application/json").encoding == Params().encoding


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("encoding=audio/wav", "encoding"),
        ("encoding=", "encoding"),
        ("isAckEnabled=yes", "isAckEnabled"),
        ("partialSilenceThresholdInMs=2001", "partialSilenceThresholdInMs"),
        ("partialSilenceThresholdInMs=-1", "partialSilenceThresholdInMs"),
        ("finalSilenceThresholdInMs=5001", "finalSilenceThresholdInMs"),
        ("finalSilenceThresholdInMs=1e3", "finalSilenceThresholdInMs"),
        ("finalSilenceThresholdInMs=" + "9" * 5000, "finalSilenceThresholdInMs"),
        ("longPauseInMs=x", "longPauseInMs"),
        ("stabilizePartialResults=True", "stabilizePartialResults"),
        ("modelType=WHISPER_MEDIUM", "modelType"),
        ("modelDomain=LEGAL", "modelDomain"),
        ("languageCode=xx-XX", "languageCode"),
        ("languageCode=auto", "languageCode"),
        ("modelType=WHISPER&languageCode=en-US", "languageCode"),
        ("punctuation=true", "punctuation"),
        ("customizations=x", "customizations"),
        ("customizations=" + "[" * 10000, "customizations"),
        ("customizations=%5B1%5D", "customizations"),
        ("shouldIgnoreInvalidCustomizations=1", "shouldIgnoreInvalidCustomizations"),
    ],
)
def test_a_value_that_is_not_allowed_names_its_parameter(query: str, named: str) -> None:
    """The refusal says which parameter is wrong and what is allowed."""
    with pytest.raises(InvalidParameterError, match=named):
        parse_params(query)


def test_every_parameter_has_a_field() -> None:
    """The table and the value it fills agree."""
    assert {row.attribute for row in PARAMETERS} == set(Params.__slots__)
