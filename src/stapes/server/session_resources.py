"""What REST says of sessions, their streams and what was heard: the public models.

JSON names are camelCase; times are RFC 3339 in UTC. What does not apply is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from stapes.store.port import SessionState, SessionSummary, StreamSummary
from stapes.store.records import FinalHeard


class Answer(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )

    def to_json(self) -> bytes:
        """As compact JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class RealtimeSessionSummary(Answer):
    """A session and how it stands."""

    id: str
    compartment_id: str
    user_id: str
    lifecycle_state: SessionState
    time_created: datetime
    time_expires: datetime
    time_revoked: datetime | None = None
    stream_count: int
    freeform_tags: dict[str, str] | None = None
    defined_tags: dict[str, dict[str, str | int | bool]] | None = None


class RealtimeSessionCollection(Answer):
    """A page of sessions, newest first."""

    items: list[RealtimeSessionSummary]


class RealtimeSessionStream(Answer):
    """One opening of a session and what it used so far; amounts in ms."""

    stream: int
    engine: str
    time_opened: datetime
    time_closed: datetime | None = None
    ended_by: str | None = None
    audio_in_ms: int
    speech_in_ms: int
    wall_in_ms: int
    words: int
    finals: int


class RealtimeSession(RealtimeSessionSummary):
    """A session with its streams, in order."""

    streams: list[RealtimeSessionStream]


class TranscriptWord(Answer):
    """A word; times are on the stream's audio timeline."""

    word: str
    start_time_in_ms: int
    end_time_in_ms: int
    confidence: float


class TranscriptFinal(Answer):
    """A final transcription; ``number`` counts from 1 within the stream."""

    number: int
    transcription: str
    start_time_in_ms: int
    end_time_in_ms: int
    confidence: float
    time_heard: datetime
    words: list[TranscriptWord]


class TranscriptStream(Answer):
    """What was heard in one stream."""

    stream: int
    transcriptions: list[TranscriptFinal]


class RealtimeSessionTranscript(Answer):
    """What was heard in a session and is still kept."""

    session_id: str
    streams: list[TranscriptStream]


class ReceiptStream(Answer):
    """What one stream used, as it is signed; amounts in ms."""

    stream: int
    engine: str
    time_opened: datetime
    time_closed: datetime
    ended_by: str
    audio_in_ms: int
    speech_in_ms: int
    wall_in_ms: int
    words: int


class RealtimeSessionReceipt(Answer):
    """A usage receipt; its sums are over the streams.

    ``signature`` is a JWS with a detached payload (RFC 7515 appendix F, RFC 7797) over the JSON of
    the other members: keys sorted, no spaces, ASCII.
    """

    version: Literal[1]
    issuer: str
    session_id: str
    tenancy_id: str
    compartment_id: str
    user_id: str
    freeform_tags: dict[str, str]
    defined_tags: dict[str, dict[str, str | int | bool]]
    streams: list[ReceiptStream]
    audio_in_ms: int
    speech_in_ms: int
    wall_in_ms: int
    words: int
    signature: str


class RealtimeSessionUsageItem(Answer):
    """What streams of one name used together; amounts in ms."""

    name: str
    streams: int
    audio_in_ms: int
    speech_in_ms: int
    wall_in_ms: int
    words: int


class RealtimeSessionUsage(Answer):
    """Sums of usage, most audio first."""

    items: list[RealtimeSessionUsageItem]


class RevokedSessions(Answer):
    """How many sessions could still be used and cannot any more.

    ``live_session_count``: how many sockets of this very server are being closed.
    """

    session_count: int
    live_session_count: int


def summarise(session: SessionSummary) -> RealtimeSessionSummary:
    """A session as it is listed."""
    return RealtimeSessionSummary(
        id=session.session_id,
        compartment_id=session.compartment_id,
        user_id=session.user_id,
        lifecycle_state=session.state,
        time_created=session.issued_at,
        time_expires=session.expires_at,
        time_revoked=session.revoked_at,
        stream_count=session.streams,
        freeform_tags=session.freeform_tags,
        defined_tags=session.defined_tags,
    )


def show(session: SessionSummary, streams: Iterable[StreamSummary]) -> RealtimeSession:
    """A session with its streams."""
    return RealtimeSession(
        **summarise(session).model_dump(by_alias=False), streams=[_stream(it) for it in streams]
    )


def transcript(session_id: str, finals: Sequence[FinalHeard]) -> RealtimeSessionTranscript:
    """The finals of a session, which are in order."""
    return RealtimeSessionTranscript(
        session_id=session_id,
        streams=[
            TranscriptStream(stream=number, transcriptions=[_final(it) for it in of])
            for number, of in groupby(finals, attrgetter("stream"))
        ],
    )


def _stream(stream: StreamSummary) -> RealtimeSessionStream:
    return RealtimeSessionStream(
        stream=stream.stream,
        engine=stream.engine,
        time_opened=stream.opened_at,
        time_closed=stream.closed_at,
        ended_by=stream.reason,
        audio_in_ms=stream.audio_ms,
        speech_in_ms=stream.speech_ms,
        wall_in_ms=stream.wall_ms,
        words=stream.words,
        finals=stream.finals,
    )


def _final(final: FinalHeard) -> TranscriptFinal:
    return TranscriptFinal(
        number=final.number,
        transcription=final.text,
        start_time_in_ms=final.start_ms,
        end_time_in_ms=final.end_ms,
        confidence=final.confidence,
        time_heard=final.heard_at,
        words=[
            TranscriptWord(
                word=word.text,
                start_time_in_ms=word.start_ms,
                end_time_in_ms=word.end_ms,
                confidence=word.confidence,
            )
            for word in final.words
        ],
    )
