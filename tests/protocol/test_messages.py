"""The messages, byte for byte where clients are strict."""

from __future__ import annotations

import json

import pytest

from stapes.errors import AuthenticationExpectedError
from stapes.protocol.messages import (
    AckAudio,
    AckDetails,
    Connect,
    CredentialsAuthentication,
    ErrorMessage,
    Result,
    Token,
    TokenAuthentication,
    Transcription,
    is_final_requested,
    parse_authentication,
)


def test_messages_have_exactly_the_fields_of_the_specification() -> None:
    """Not one field more: some clients refuse unknown ones."""
    token = Token(
        token="hello",
        start_time_in_ms=120,
        end_time_in_ms=600,
        confidence=0.95,
        type="WORD",
    )
    shown = Transcription(
        transcription="hello",
        is_final=True,
        start_time_in_ms=120,
        end_time_in_ms=600,
        trailing_silence=2000,
        confidence=0.95,
        tokens=(token,),
    )
    assert json.loads(Result(session_id="s", transcriptions=(shown,)).encode()) == {
        "event": "RESULT",
        "sessionId": "s",
        "transcriptions": [
            {
                "transcription": "hello",
                "isFinal": True,
                "startTimeInMs": 120,
                "endTimeInMs": 600,
                "trailingSilence": 2000,
                "confidence": 0.95,
                "tokens": [
                    {
                        "token": "hello",
                        "startTimeInMs": 120,
                        "endTimeInMs": 600,
                        "confidence": 0.95,
                        "type": "WORD",
                    }
                ],
            }
        ],
    }
    assert Connect(session_id="s").encode() == '{"event":"CONNECT","sessionId":"s"}'
    ack = AckAudio(session_id="s", details=AckDetails(number=1, offset=0, length=3072))
    assert json.loads(ack.encode()) == {
        "event": "ACKAUDIO",
        "sessionId": "s",
        "details": {"number": 1, "offset": 0, "length": 3072},
    }


def test_an_error_before_a_session_has_no_session_id() -> None:
    """An absent field is left out, not null."""
    assert ErrorMessage(code=401, message="m").encode() == (
        '{"event":"ERROR","code":401,"message":"m"}'
    )


def test_both_kinds_of_authentication_are_read() -> None:
    """Key order does not matter, unknown keys are ignored."""
    token = parse_authentication('{"token":"t","compartmentId":"c","authenticationType":"TOKEN"}')
    assert token == TokenAuthentication(authentication_type="TOKEN", compartment_id="c", token="t")
    signed = parse_authentication(
        '{"authenticationType":"CREDENTIALS","headers":{"date":"d"},"compartmentId":"c","x":1}'
    )
    assert signed == CredentialsAuthentication(
        authentication_type="CREDENTIALS", compartment_id="c", headers={"date": "d"}
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        "[" * 100_000,
        '{"event":"SEND_FINAL_RESULT"}',
        '{"authenticationType":"token","compartmentId":"c","token":"secret"}',
        '{"authenticationType":"TOKEN","token":"secret"}',
        '{"authenticationType":"TOKEN","compartmentId":"","token":"secret"}',
        '{"authenticationType":"TOKEN","compartmentId":"%s","token":"secret"}' % ("c" * 256),
        '{"authenticationType":"TOKEN","compartmentId":"c","token":""}',
        '{"authenticationType":"TOKEN","compartmentId":"c","token":{"secret":1}}',
        '{"authenticationType":"CREDENTIALS","compartmentId":"c","headers":{}}',
        '{"authenticationType":"CREDENTIALS","compartmentId":"c","headers":{"date":["secret"]}}',
    ],
)
def test_anything_else_is_no_authentication(text: str) -> None:
    """The error never repeats what was sent: it may be a secret."""
    with pytest.raises(AuthenticationExpectedError) as caught:
        parse_authentication(text)
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    """The repr of an authentication message is safe to log."""
    message = TokenAuthentication(authentication_type="TOKEN", compartment_id="c", token="secret")
    assert "secret" not in repr(message)


@pytest.mark.parametrize(
    ("text", "is_final"),
    [
        ('{\n  "event": "SEND_FINAL_RESULT"\n}', True),
        ('{"event":"SEND_FINAL_RESULT","more":1}', True),
        ('{"event":"send_final_result"}', False),
        ('["event"]', False),
        ('"SEND_FINAL_RESULT"', False),
        ("{", False),
        ("[" * 100_000, False),
        ("1" * 10_000, False),
        ('{"sampleRate":16000}', False),
    ],
)
def test_only_the_known_event_asks_for_a_final(text: str, is_final: bool) -> None:
    """Every other text is ignored after CONNECT."""
    assert is_final_requested(text) is is_final
