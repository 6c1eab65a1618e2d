"""What the subprotocol ``stapes.v1`` adds to the messages of the socket, so that streams resume.

Only a client that offers it, and a server that echoes it, exchange any of this. Byte positions are
on the stream's audio timeline: bytes of the audio as sent, from 0.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from stapes.protocol.messages import AckAudio, Connect, ErrorMessage, Result, _Message

SUBPROTOCOL = "stapes.v1"
TOKEN_SUBPROTOCOL = "stapes-token."  # noqa: S105 - no secret
"""What a subprotocol begins with that offers a session token, for a browser that cannot send a
message before it is connected. Only `SUBPROTOCOL` is ever echoed."""


class ResumableConnect(Connect):
    """A stream that can be resumed has begun, or goes on."""

    resume_from: int = Field(ge=0, description="byte from which the client has to send")
    results_from: int = Field(ge=1, description="number of the first final that follows")
    expires_at: AwareDatetime | None = Field(
        None, description="until when the credential opens sockets"
    )
    limits: dict[str, Any] = Field({}, description="what the session may do, by name")


class NumberedResult(Result):
    """A result with its place. Finals are numbered from 1 without gaps."""

    number: int | None = Field(
        None, ge=0, description="of a final; of a partial: of the final that it may become"
    )
    through_byte: int | None = Field(
        None, ge=0, description="all audio before it is accounted for in finals, when final"
    )


class LimitWarning(_Message):
    """A limit will close the session soon."""

    event: Literal["WARNING"] = "WARNING"
    code: int = Field(description="HTTP status of the ERROR that would follow")
    message: str = Field(description="code word, colon, sentence")
    seconds_left: int = Field(description="time until then, s")


class GoAway(_Message):
    """The server is stopping: the client has to resume somewhere else."""

    event: Literal["GOAWAY"] = "GOAWAY"
    reconnect_within_ms: int = Field(ge=0, description="time to do so, ms")


class Finalized(_Message):
    """A SEND_FINAL_RESULT has been answered; comes right after the final that answers it."""

    event: Literal["FINALIZED"] = "FINALIZED"
    number: int = Field(description="of the last final")
    through_ms: int = Field(description="audio that was received before the request, ms")


Extended = (
    ResumableConnect | AckAudio | NumberedResult | LimitWarning | GoAway | Finalized | ErrorMessage
)
