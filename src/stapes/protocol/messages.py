"""The messages of the socket, with the names and shapes of OCI AI Speech realtime.

Source: the `RealtimeMessage*` definitions of Oracle's "Speech API 20220101" specification. Not one
field more than it names is ever sent: some clients parse strictly. What a client of our extension
gets is in `stapes.protocol.extension`.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from stapes.errors import AuthenticationExpectedError


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    def encode(self) -> str:
        """The JSON text of the frame; absent optional fields are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


_CompartmentId = Annotated[
    str, Field(min_length=1, max_length=255, description="OCID of the session's compartment")
]
_SessionId = Annotated[str, Field(description="OCID of the session")]
_Confidence = Annotated[float, Field(description="0..1")]
_Start = Annotated[int, Field(description="start, ms on the stream's audio timeline")]
_End = Annotated[int, Field(description="end, ms on the stream's audio timeline")]


class TokenAuthentication(_Message):
    """First frame of a client that holds a session token."""

    authentication_type: Literal["TOKEN"]
    compartment_id: _CompartmentId
    token: str = Field(min_length=1, repr=False, description="the session token, a JWT")


class CredentialsAuthentication(_Message):
    """First frame of a client that signs with its own API key."""

    authentication_type: Literal["CREDENTIALS"]
    compartment_id: _CompartmentId
    headers: dict[str, str] = Field(
        min_length=1,
        max_length=32,
        repr=False,
        description="headers of a signed GET, with `authorization` and the `uri` it was signed for",
    )


Authentication = TokenAuthentication | CredentialsAuthentication

_AUTHENTICATION: TypeAdapter[Authentication] = TypeAdapter(
    Annotated[Authentication, Field(discriminator="authentication_type")]
)


class SendFinalResult(_Message):
    """Asks for the final of everything sent so far, now."""

    event: Literal["SEND_FINAL_RESULT"] = "SEND_FINAL_RESULT"


class Connect(_Message):
    """Authentication succeeded and the recogniser is ready."""

    event: Literal["CONNECT"] = "CONNECT"
    session_id: _SessionId


class AckDetails(_Message):
    """Which audio frame is acknowledged."""

    number: int = Field(description="of the frame, from 1")
    offset: int = Field(description="bytes of the stream's audio before the frame")
    length: int = Field(description="of the frame, bytes")


class AckAudio(_Message):
    """An audio frame was accepted into the session and will be recognised."""

    event: Literal["ACKAUDIO"] = "ACKAUDIO"
    session_id: _SessionId
    details: AckDetails = Field(description="which frame")


class Token(_Message):
    """A word or mark of a transcription. Times in ms on the stream's audio timeline."""

    token: str = Field(description="its text")
    start_time_in_ms: _Start
    end_time_in_ms: _End
    confidence: _Confidence
    type: Literal["WORD", "PUNCTUATION"]


class Transcription(_Message):
    """What was heard in one utterance. Times in ms on the stream's audio timeline."""

    transcription: str = Field(description="the text: its tokens, joined")
    is_final: bool = Field(description="whether it will not change any more")
    start_time_in_ms: _Start
    end_time_in_ms: _End
    trailing_silence: int = Field(description="silence heard after the last word, ms")
    confidence: float = Field(description="0..1, mean of the words weighted by their durations")
    tokens: tuple[Token, ...] = Field(description="its words and marks, in order")


class Result(_Message):
    """A partial or final transcription; a partial replaces the one before it."""

    event: Literal["RESULT"] = "RESULT"
    session_id: _SessionId
    transcriptions: tuple[Transcription, ...] = Field(min_length=1, description="exactly one")


class ErrorMessage(_Message):
    """Something ended the session. ``code`` is an HTTP status."""

    event: Literal["ERROR"] = "ERROR"
    session_id: str | None = Field(None, description="absent when there is no session yet")
    code: int = Field(description="an HTTP status")
    message: str = Field(description="code word, colon, sentence")


Outgoing = Connect | AckAudio | Result | ErrorMessage


def parse_authentication(text: str) -> Authentication:
    """The first text frame. Raises `AuthenticationExpectedError` when it is anything else."""
    try:
        return _AUTHENTICATION.validate_json(text)
    except ValidationError as error:
        # The values are secrets: only the places of the faults may reach the log.
        places = [".".join(map(str, fault["loc"])) or "message" for fault in error.errors()]
        raise AuthenticationExpectedError(f"no valid authentication message: {places}") from None


def is_final_requested(text: str) -> bool:
    """Whether a text frame is SEND_FINAL_RESULT; every other one is ignored after CONNECT."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("event") == "SEND_FINAL_RESULT"
