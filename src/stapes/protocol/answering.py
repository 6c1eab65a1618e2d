"""What a peer is told of what was heard: partials, finals, acknowledgements, and CONNECT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stapes.protocol import results
from stapes.protocol.effects import Effect, SaveFinal, SavePoint, Send
from stapes.protocol.events import Checkpoint, Numbered, PartialArrived, UtteranceArrived
from stapes.protocol.extension import Finalized, NumberedResult, ResumableConnect
from stapes.protocol.intake import set_reading
from stapes.protocol.messages import AckAudio, AckDetails, Connect, Result, Transcription
from stapes.protocol.state import Session, Step

PARTIAL_INTERVAL_MS = 100

SILENCE_BETWEEN_POINTS_MS = 10_000
"""Of silence no final tells; after so much of it, it is kept where the stream can be continued. So
a peer needs no old silence to go on, however long it lasted."""

MOST_KEPT_FINALS = 64
"""A peer that comes back has missed at most so many finals: those of a resume window, and more."""


def connected(session: Session) -> Connect:
    """The CONNECT of a session; with the extension, from where its peer has to send."""
    assert session.session_id is not None
    if not session.is_extended:
        return Connect(session_id=session.session_id)
    return ResumableConnect(
        session_id=session.session_id,
        resume_from=session.audio_bytes,
        results_from=session.results_from,
        expires_at=session.expires_at,
        limits=session.limits,
    )


def again(session: Session) -> list[Effect]:
    """The finals that a peer that came back has not got, and the last answer if it may lack it."""
    missing = [it for it in session.sent if it.number >= session.results_from]
    answer = session.answer
    if answer is None or answer.number < session.results_from - 1:
        return _told(session, missing)
    before = [it for it in missing if it.number <= answer.number]
    behind = missing[len(before) :]
    if not answer.transcription.tokens:
        before.append(answer)
    return [*_told(session, before), *finalized(session, answer), *_told(session, behind)]


def _told(session: Session, finals: Iterable[Numbered]) -> list[Effect]:
    return [Send(numbered(session, it)) for it in finals]


def ack(session: Session, offset: int, length: int) -> AckAudio:
    """Audio was taken in: ``length`` bytes behind ``offset``."""
    assert session.session_id is not None
    details = AckDetails(number=session.frames, offset=offset, length=length)
    return AckAudio(session_id=session.session_id, details=details)


def show_partial(session: Session, event: PartialArrived, now_ms: int) -> Step:
    """Send a partial, at most every 100 ms and only when its text changed."""
    return send_partial(replace(session, partial_waiting=event.heard), now_ms)


def send_partial(session: Session, now_ms: int) -> Step:
    """Send the waiting partial, unless one went out less than `PARTIAL_INTERVAL_MS` ago."""
    heard = session.partial_waiting
    if heard is None or now_ms - session.partial_at_ms < PARTIAL_INTERVAL_MS:
        return session, []
    session = replace(session, partial_waiting=None)
    shown = results.partial(heard, session.params)
    if shown is None or shown.transcription == session.partial_text:
        return session, []
    session = replace(session, partial_text=shown.transcription, partial_at_ms=now_ms)
    return session, [Send(_result(session, shown))]


def end_utterance(session: Session, event: UtteranceArrived, now_ms: int) -> Step:
    """Send and keep the final of an utterance; an empty one only when it was asked for."""
    why, flushes = "", session.flushes
    if event.is_answer:
        why, flushes = flushes[0], flushes[1:]
    session = replace(session, flushes=flushes, partial_waiting=None, partial_text="")
    session, effects = send_final(session, event, is_wanted=why == "request")
    session, more = set_reading(session, now_ms)
    return session, effects + more


def send_final(session: Session, event: UtteranceArrived, *, is_wanted: bool) -> Step:
    """Send and keep a final; an empty one is sent only when it was asked for, and never kept."""
    shown = results.final(event.heard, session.params)
    session = replace(session, through_byte=max(session.through_byte, _through(session, event)))
    if not shown.tokens:
        session, saved = save_point(session, event.checkpoint)
        if not is_wanted:
            return session, saved
        it = Numbered(session.finals, shown, session.through_byte)
        session = replace(session, answer=it)
        return session, [*saved, Send(numbered(session, it)), *finalized(session, it)]
    it = Numbered(session.finals + 1, shown, session.through_byte)
    session = replace(
        session,
        finals=it.number,
        sent=(*session.sent, it)[-MOST_KEPT_FINALS:],
        answer=it if is_wanted else session.answer,
        saved_byte=event.checkpoint.audio_bytes if event.checkpoint else session.saved_byte,
    )
    effects: list[Effect] = [_save(session, it, event.checkpoint), Send(numbered(session, it))]
    return session, effects + (finalized(session, it) if is_wanted else [])


def _through(session: Session, event: UtteranceArrived) -> int:
    """Up to where an utterance accounts for audio. An answer to a flush: for all that was heard.

    Utterances tell whole milliseconds, and the audio of a peer may end between two.
    """
    encoding, through_ms = session.params.encoding, event.heard.through_ms
    if event.is_answer and encoding.bytes_to_ms(session.heard_bytes) == through_ms:
        return session.heard_bytes
    return encoding.ms_to_bytes(through_ms)


def _save(session: Session, final: Numbered, checkpoint: Checkpoint | None) -> SaveFinal:
    if checkpoint is None or not session.is_extended:
        return SaveFinal(final.number, final.transcription)
    return SaveFinal(final.number, final.transcription, checkpoint, session.sent, session.speech_ms)


def save_point(session: Session, checkpoint: Checkpoint | None) -> Step:
    """Keep where the stream can be continued, when the last such place is far enough before."""
    if checkpoint is None or not session.is_extended:
        return session, []
    further = checkpoint.audio_bytes - session.saved_byte
    if further < session.params.encoding.ms_to_bytes(SILENCE_BETWEEN_POINTS_MS):
        return session, []
    point = SavePoint(session.finals, checkpoint, session.sent, session.speech_ms)
    return replace(session, saved_byte=checkpoint.audio_bytes), [point]


def finalized(session: Session, answer: Numbered) -> list[Effect]:
    """With the extension, say that a request has been answered."""
    if not session.is_extended:
        return []
    through_ms = session.params.encoding.bytes_to_ms(answer.through_byte)
    message = Finalized(number=answer.number, through_ms=through_ms)
    return [Send(message)]


def numbered(session: Session, final: Numbered) -> Result:
    """A final as a message; without the extension not one field more than there always was."""
    assert session.session_id is not None
    if not session.is_extended:
        return _result(session, final.transcription)
    return NumberedResult(
        session_id=session.session_id,
        transcriptions=(final.transcription,),
        number=final.number,
        through_byte=final.through_byte,
    )


def _result(session: Session, shown: Transcription) -> Result:
    assert session.session_id is not None
    if not session.is_extended:
        return Result(session_id=session.session_id, transcriptions=(shown,))
    return NumberedResult(
        session_id=session.session_id, transcriptions=(shown,), number=session.finals + 1
    )
