"""The messages of the socket, with the names and shapes of OCI AI Speech realtime.

Source: the `RealtimeMessage*` definitions of Oracle's "Speech API 20220101" specification. Not one
field more than it names is ever sent: some clients parse strictly.
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


_CompartmentId = Annotated[str, Field(min_length=1, max_length=255)]


class TokenAuthentication(_Message):
    """First frame of a client that holds a session token."""

    authentication_type: Literal["TOKEN"]
    compartment_id: _CompartmentId
    token: str = Field(min_length=1, repr=False)


class CredentialsAuthentication(_Message):
    """First frame of a client that signs with its own API key."""

    authentication_type: Literal["CREDENTIALS"]
    compartment_id: _CompartmentId
    headers: dict[str, str] = Field(min_length=1, max_length=32, repr=False)


Authentication = TokenAuthentication | CredentialsAuthentication

_AUTHENTICATION: TypeAdapter[Authentication] = TypeAdapter(
    Annotated[Authentication, Field(discriminator="authentication_type")]
)


class Connect(_Message):
    """Authentication succeeded and the recogniser is ready."""

    event: Literal["CONNECT"] = "CONNECT"
    session_id: str


class AckDetails(_Message):
    """Which audio frame is acknowledged. ``offset`` and ``length`` in bytes; number from 1."""

    number: int
    offset: int
    length: int


class AckAudio(_Message):
    """An audio frame was accepted into the session and will be recognised."""

    event: Literal["ACKAUDIO"] = "ACKAUDIO"
    session_id: str
    details: AckDetails


class Token(_Message):
    """A word or mark of a transcription. Times in ms on the stream's audio timeline."""

    token: str
    start_time_in_ms: int
    end_time_in_ms: int
    confidence: float
    type: Literal["WORD", "PUNCTUATION"]


class Transcription(_Message):
    """What was heard in one utterance. Times in ms on the stream's audio timeline."""

    transcription: str
    is_final: bool
    start_time_in_ms: int
    end_time_in_ms: int
    trailing_silence: int
    confidence: float
    tokens: tuple[Token, ...]


class Result(_Message):
    """A partial or final transcription; a partial replaces the one before it."""

    event: Literal["RESULT"] = "RESULT"
    session_id: str
    transcriptions: tuple[Transcription, ...]


class ErrorMessage(_Message):
    """Something ended the session. ``code`` is an HTTP status."""

    event: Literal["ERROR"] = "ERROR"
    session_id: str | None = None
    code: int
    message: str


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
