"""What a stream leaves behind: its claim, its finals, how much it used, and why it ended."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from stapes.audio.encodings import ENCODINGS
from stapes.engines.port import HearingParams
from stapes.errors import ServiceUnavailableError, StoreError, TokenUsedError
from stapes.protocol.effects import Ending, SaveFinal, SavePoint
from stapes.protocol.events import Checkpoint, Numbered
from stapes.protocol.messages import Transcription
from stapes.protocol.params import Params
from stapes.protocol.results import attached
from stapes.server.contests import win
from stapes.server.deployment import Deployment
from stapes.store.port import Contest, Store
from stapes.store.records import (
    Audited,
    FinalHeard,
    Record,
    StreamClosed,
    StreamMetered,
    StreamOpened,
    StreamResumable,
)
from stapes.tokens.grant import Grant

METERED_EVERY_S = 5.0
ENCODING_NAMES = {encoding: name for name, encoding in ENCODINGS.items()}

log = structlog.get_logger("stapes.stream")


class StreamAccount:
    """The records of one stream; made by `open_account`.

    Attributes:
        written: done when the store has the finals so far; None while there is none to be stored.
    """

    def __init__(
        self, deployment: Deployment, grant: Grant, stream: int, past: StreamResumable | None = None
    ) -> None:
        """The stream was claimed under this number, or taken over with its ``past``."""
        self.grant = grant
        self.stream = stream
        self.written: Future[None] | None = None
        self._writer = deployment.writer
        self._store = deployment.store
        self._server_id = deployment.server_id
        self._opened = deployment.metrics.streams_opened
        self._keeps_words = deployment.settings.keep_transcripts_days != 0
        self._words = past.words if past else 0
        self._wall_before_ms = past.wall_ms if past else 0
        self._is_continued = past is not None
        self._began = time.monotonic()
        self._metered_at = self._began

    async def withdraw(self) -> None:
        """The stream came to nothing: it was never served, and a single use is not used up."""
        await asyncio.to_thread(self._store.withdraw_stream, self.grant.session_id, self.stream)

    def begin(self) -> None:
        """The peer is told that it is connected."""
        self._began = self._metered_at = time.monotonic()
        self._opened.inc()
        grant = self.grant
        self._writer.put(
            Audited(
                datetime.now(UTC),
                grant.user_id,
                "stream.continued" if self._is_continued else "stream.opened",
                grant.session_id,
                grant.tenancy_id,
                {"stream": self.stream},
            )
        )
        log.info("stream opened", session=grant.session_id, stream=self.stream)

    def save(self, wanted: SaveFinal | SavePoint) -> None:
        """Keep a final, or where the stream can be continued, unless no transcript is kept."""
        if isinstance(wanted, SaveFinal):
            self._save_final(wanted)
        elif self._keeps_words:
            self._writer.put(self._resumable(wanted, wanted.checkpoint))

    def _save_final(self, final: SaveFinal) -> None:
        """Its words count, kept or not."""
        shown = final.transcription
        words = attached(shown)
        self._words += len(words)
        if not self._keeps_words:
            return
        heard = FinalHeard(
            self.grant.session_id,
            self.stream,
            number=final.number,
            text=shown.transcription,
            start_ms=shown.start_time_in_ms,
            end_ms=shown.end_time_in_ms,
            confidence=shown.confidence,
            words=words,
            heard_at=datetime.now(UTC),
        )
        records: list[Record] = [heard]
        if final.checkpoint is not None:
            records.append(self._resumable(final, final.checkpoint))
        self.written = self._writer.hurry(*records)

    def _resumable(self, final: SaveFinal | SavePoint, checkpoint: Checkpoint) -> StreamResumable:
        return StreamResumable(
            self.grant.session_id,
            self.stream,
            audio_bytes=checkpoint.audio_bytes,
            state=checkpoint.state,
            finals=[to_json(each) for each in final.finals],
            finals_sent=final.number,
            speech_ms=final.speech_ms,
            wall_ms=self._wall_ms,
            words=self._words,
        )

    def meter(self, audio_ms: int, speech_ms: int) -> None:
        """Write down from time to time what was used, should this process be killed.

        Not while the database takes nothing: the room is for what no later record replaces.
        """
        is_due = time.monotonic() - self._metered_at >= METERED_EVERY_S
        if not is_due or self._writer.problem is not None:
            return
        self._metered_at = time.monotonic()
        self._writer.put(
            StreamMetered(
                self.grant.session_id,
                self.stream,
                audio_ms=audio_ms,
                speech_ms=speech_ms,
                wall_ms=self._wall_ms,
                words=self._words,
            )
        )

    def close(self, ending: Ending, audio_ms: int, speech_ms: int) -> None:
        """The stream ended."""
        self._writer.put(
            StreamClosed(
                self.grant.session_id,
                self.stream,
                closed_at=datetime.now(UTC),
                reason=ending,
                audio_ms=audio_ms,
                speech_ms=speech_ms,
                wall_ms=self._wall_ms,
                words=self._words,
                server_id=self._server_id,
            )
        )
        log.info(
            "stream closed",
            session=self.grant.session_id,
            stream=self.stream,
            reason=ending,
            audio_ms=audio_ms,
        )

    @property
    def _wall_ms(self) -> int:
        return self._wall_before_ms + round((time.monotonic() - self._began) * 1000)


def hearing_params(params: Params, phrases: tuple[str, ...] = ()) -> HearingParams:
    """What of the parameters decides which model hears the stream, and how."""
    return HearingParams(params.language, params.model_type, params.model_domain, phrases)


async def open_account(
    deployment: Deployment, grant: Grant, params: Params, *, is_resumable: bool
) -> StreamAccount:
    """Claim the session's next stream in the store, before anything is spent on it.

    One that ``is_resumable`` can from then on be continued on any server: from its begin, as long
    as it has no final.

    Raises:
        InvalidParameterError: no installed model fits the parameters.
        TokenUsedError: a single-use token had its one opening, on whatever server.
        SessionLiveElsewhereError: the session has a live socket on another server.
        ServiceUnavailableError: the store cannot say.
    """
    opened = StreamOpened(
        grant.session_id,
        1,
        tenancy_id=grant.tenancy_id,
        compartment_id=grant.compartment_id,
        user_id=grant.user_id,
        opened_at=datetime.now(UTC),
        params=described(params),
        engine=deployment.pool.model_for(hearing_params(params)),
        server_id=deployment.server_id,
    )
    only_first = bool(grant.limits and grant.limits.single_use)
    is_kept = is_resumable and deployment.settings.keep_transcripts_days != 0
    claim = partial(_claim, deployment.store, opened, only_first, is_kept)
    try:
        stream = await asyncio.to_thread(claim)
        while isinstance(stream, Contest):
            await win(deployment, stream)
            stream = await asyncio.to_thread(claim, stream)
    except StoreError as error:
        raise unrecordable(error) from error
    if stream is None:
        raise TokenUsedError("the token served its one opening")
    return StreamAccount(deployment, grant, stream)


def _claim(
    store: Store,
    opened: StreamOpened,
    only_first: bool,
    is_resumable: bool,
    won: Contest | None = None,
) -> int | Contest | None:
    stream = store.claim_stream(opened, only_first=only_first, won=won)
    if isinstance(stream, int) and is_resumable:
        begin = StreamResumable(
            opened.session_id,
            stream,
            audio_bytes=0,
            state=b"",
            finals=[],
            finals_sent=0,
            speech_ms=0,
            wall_ms=0,
            words=0,
        )
        store.write([begin])
    return stream


def described(params: Params) -> dict[str, Any]:
    """Parameters as a stream's record has them."""
    values = {**asdict(params), "encoding": ENCODING_NAMES[params.encoding]}
    values["customizations"] = list(params.customizations)
    return values


def to_json(final: Numbered) -> dict[str, Any]:
    """A final as a resume point has it."""
    return {
        "number": final.number,
        "throughByte": final.through_byte,
        "transcription": final.transcription.model_dump(mode="json", by_alias=True),
    }


def from_json(kept: dict[str, Any]) -> Numbered:
    """The final of `to_json`."""
    shown = Transcription.model_validate(kept["transcription"])
    return Numbered(kept["number"], shown, kept["throughByte"])


def unrecordable(error: StoreError) -> ServiceUnavailableError:
    """What a peer is told when the store takes no new session."""
    public = "Sessions cannot be recorded right now; try again later."
    return ServiceUnavailableError(str(error), public=public)
