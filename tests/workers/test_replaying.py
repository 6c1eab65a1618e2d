"""Workers that die, hang or grow: nobody notices, but for the stream that is what kills them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from stapes import samples
from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.engines.scripted import POISON
from stapes.errors import InternalServerError, ServiceUnavailableError
from stapes.protocol.events import (
    AudioHeard,
    Checkpoint,
    Event,
    PartialArrived,
    RecogniserFailed,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.words import Word
from stapes.workers.frames import Report
from stapes.workers.links import Line, Link
from stapes.workers.pool import Pool
from stapes.workers.replaying import MOST_KEPT_BYTES, Ear, Log
from stapes.workers.watching import Bounds, resident_bytes
from tests.engines.models import DIGITS, PUNCTUATION
from tests.waiting import is_running, until
from tests.workers.test_pool import Inbox, is_answer, running

PARAMS = ListenerParams("audio/raw;rate=16000", HearingParams(), 0, 400, punctuates=True)
MODELS = {"sherpa": {"model": DIGITS, "punctuators": [PUNCTUATION / "edge"]}}
CHUNK_BYTES = 3200
POISONED = POISON * 2


@cache
def speech(names: Sequence[str] = ("digits", "short", "digits")) -> bytes:
    """Samples with silences behind them: several utterances."""
    parts = []
    for name in names:
        pcm, _ = soundfile.read(samples.load(name).path, dtype="int16")
        parts += [np.asarray(pcm, np.int16), np.zeros(12000, np.int16)]
    return np.concatenate(parts).tobytes()


def poisoned() -> bytes:
    """Speech with the poison well inside."""
    at = 3 * 32000
    return speech()[:at] + POISONED + speech()[at + len(POISONED) :]


def finals(inbox: Inbox) -> list[UtteranceHeard]:
    return [event.heard for event in inbox.events if isinstance(event, UtteranceArrived)]


def heard(inbox: Inbox) -> tuple[int, int]:
    """Bytes and ms of speech that were accounted for."""
    found = [event for event in inbox.events if isinstance(event, AudioHeard)]
    return sum(event.audio_bytes for event in found), sum(event.speech_ms for event in found)


def is_failure(event: Event) -> bool:
    return isinstance(event, RecogniserFailed)


async def play(ear: Ear, inbox: Inbox, audio: bytes, pace_s: float = 0.0) -> None:
    """Feed in chunks, then flush and wait for the answer or a failure."""
    for start in range(0, len(audio), CHUNK_BYTES):
        ear.feed(audio[start : start + CHUNK_BYTES])
        await asyncio.sleep(pace_s)
    ear.flush()
    await inbox.until(lambda event: is_answer(event) or is_failure(event))


async def undisturbed(pool: Pool, audio: bytes) -> Inbox:
    inbox = Inbox()
    ear = await pool.take(PARAMS, inbox.post)
    await play(ear, inbox, audio)
    ear.release()
    return inbox


async def kill(pool: Pool) -> None:
    """End the one busy worker, and wait until another one has taken its place."""
    (pid,) = pool.busy_pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pool.busy_pids not in ([pid], []))
    await until(lambda: all(line.opened.done() for link in pool._links for line in _lines(link)))


def _lines(link: Link) -> list[Line]:
    return list(link.lines.values())


def model(engine: str) -> dict[str, Any]:
    return MODELS.get(engine, {})


@pytest.mark.parametrize("engine", ["scripted", "pocketsphinx", "sherpa"])
async def test_a_killed_worker_is_not_noticed(engine: str) -> None:
    """Wherever it died: the same finals, the same account of the audio, nothing twice."""
    random = Random(1)
    audio = speech(("short", "short") if engine == "pocketsphinx" else ("digits", "short"))
    async with running(engine, streams=4, warm=1, **model(engine)) as pool:
        expected = await undisturbed(pool, audio)
        assert len(finals(expected)) > 1
        texts = [word.text for final in finals(expected) for word in final.words]
        assert any("," in text for text in texts) == (engine == "sherpa")  # it has marks, too
        for _ in range(2 if engine == "pocketsphinx" else 6):
            inbox = Inbox()
            ear = await pool.take(PARAMS, inbox.post)
            place = random.randrange(len(audio))
            playing = asyncio.create_task(play(ear, inbox, audio, 0.002))
            await until(lambda place=place, inbox=inbox: heard(inbox)[0] >= place)  # type: ignore[misc]
            os.kill(pool.busy_pids[0], signal.SIGKILL)
            await playing
            await until(lambda inbox=inbox: heard(inbox)[0] == len(audio))  # type: ignore[misc]
            assert finals(inbox) == finals(expected)
            assert heard(inbox) == heard(expected)
            assert sum(is_answer(event) for event in inbox.events) == 1
            ear.release()
            assert pool.live == 0


async def test_partials_are_not_repeated() -> None:
    """What was shown of an utterance before its worker died is not shown again."""
    async with running(streams=2, warm=1) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        half = speech()[: len(speech()) // 2]
        ear.feed(half)
        await until(lambda: heard(inbox)[0] == len(half))
        os.kill(pool.busy_pids[0], signal.SIGKILL)
        await play(ear, inbox, speech()[len(half) :])
        ear.release()
    shown = [event.heard.words for event in inbox.events if isinstance(event, PartialArrived)]
    assert all(before != after for before, after in pairwise(shown))


async def test_the_checkpoint_of_a_final_goes_on_in_another_pool() -> None:
    """With the audio behind it, all later finals are as they would have been."""
    async with running(streams=2, warm=1) as pool:
        whole = await undisturbed(pool, speech())
    arrived = [event for event in whole.events if isinstance(event, UtteranceArrived)]
    assert len(arrived) > 3
    async with running(streams=2, warm=1) as pool:
        for index, event in enumerate(arrived[:-1], start=1):
            assert event.checkpoint is not None
            inbox = Inbox()
            ear = await pool.take(PARAMS, inbox.post, event.checkpoint)
            await play(ear, inbox, speech()[event.checkpoint.audio_bytes :])
            assert finals(inbox) == finals(whole)[index:]
            ear.release()


async def test_a_stream_that_kills_its_workers_fails_alone() -> None:
    """Twice at the same place; those beside it, in the same process, hear all their words."""
    async with running(streams=8, warm=1) as pool:
        expected = finals(await undisturbed(pool, speech()))
        inboxes = [Inbox() for _ in range(4)]
        ears = [await pool.take(PARAMS, inbox.post) for inbox in inboxes]
        assert len(pool.busy_pids) == 1
        audio = [speech(), poisoned(), speech(), speech()]
        playing = zip(ears, inboxes, audio, strict=True)
        await asyncio.gather(*(play(ear, inbox, data, 0.005) for ear, inbox, data in playing))
        (failure,) = filter(is_failure, inboxes[1].events)
        assert isinstance(failure, RecogniserFailed)
        assert isinstance(failure.error, InternalServerError)
        for inbox in (inboxes[0], inboxes[2], inboxes[3]):
            assert finals(inbox) == expected
            assert not any(map(is_failure, inbox.events))
        for ear in ears:
            ear.release()
        assert pool.live == 0


async def test_two_deaths_with_progress_in_between() -> None:
    """They are two accidents: the stream goes on."""
    async with running(streams=2, warm=1) as pool:
        expected = finals(await undisturbed(pool, speech()))
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        third = len(speech()) // 3 // 2 * 2
        for part in (1, 2):
            ear.feed(speech()[(part - 1) * third : part * third])
            await until(lambda part=part: heard(inbox)[0] == part * third)  # type: ignore[misc]
            await kill(pool)
        await play(ear, inbox, speech()[2 * third :])
        assert finals(inbox) == expected
        ear.release()


async def test_two_deaths_without_progress() -> None:
    """The stream fails, and its place is free when it is given back."""
    async with running(streams=1, warm=1) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        ear.feed(speech()[:64000])
        await until(lambda: heard(inbox)[0] == 64000)
        await kill(pool)
        os.kill(pool.busy_pids[0], signal.SIGKILL)
        await inbox.until(is_failure)
        assert pool.live == 1
        ear.release()
        assert pool.live == 0


async def test_a_worker_that_hangs_is_replaced() -> None:
    """It said nothing for too long though it had audio; the words are those of a whole run."""
    async with running("scripted", streams=2, warm=1, bounds=Bounds(silent_s=2)) as pool:
        expected = finals(await undisturbed(pool, speech()))
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        ear.feed(speech()[:64000])
        await until(lambda: heard(inbox)[0] == 64000)
        (pid,) = pool.busy_pids
        os.kill(pid, signal.SIGSTOP)
        await play(ear, inbox, speech()[64000:])
        assert finals(inbox) == expected
        await until(lambda: not is_running(pid))
        ear.release()


async def test_a_worker_with_nothing_to_hear_is_left_alone() -> None:
    """However long nothing comes."""
    async with running("pocketsphinx", streams=2, warm=1, bounds=Bounds(silent_s=0.2)) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        pids = pool.busy_pids
        await asyncio.sleep(1)
        assert pool.busy_pids == pids
        ear.release()


async def test_a_worker_that_hangs_when_its_stream_ends_is_ended() -> None:
    """Nothing is left of it."""
    async with running("pocketsphinx", streams=2, warm=1, bounds=Bounds(silent_s=0.4)) as pool:
        ear = await pool.take(PARAMS, Inbox().post)
        (pid,) = pool.busy_pids
        os.kill(pid, signal.SIGSTOP)
        ear.release()
        await until(lambda: not is_running(pid))


async def test_a_stopped_worker_ends_with_its_pool() -> None:
    """The pool does not wait for it."""
    async with running(streams=2, warm=1) as pool:
        await pool.take(PARAMS, Inbox().post)
        os.kill(pool.busy_pids[0], signal.SIGSTOP)


async def test_a_worker_that_takes_too_much_memory_is_replaced() -> None:
    """Whoever grew it: the stream goes on in another one."""
    async with running(streams=2, warm=1, bounds=Bounds(silent_s=1, memory_mb=1)) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        (link,) = [link for link in pool._links if link.lines]
        link.resident_bytes -= 1024**2 * 2  # as if it had grown
        await until(lambda: link not in pool._links)
        assert not any(map(is_failure, inbox.events))
        ear.release()


def test_resident_memory_of_a_process() -> None:
    """As another tool tells it; of one that is not there, nothing."""
    mine = resident_bytes(os.getpid())
    assert abs(mine - psutil.Process().memory_info().rss) < mine / 10
    assert resident_bytes(2**22 + 1) == 0


async def test_a_worker_that_dies_as_it_opens() -> None:
    """Another one takes its place before the stream begins."""
    async with running("pocketsphinx", streams=4, warm=2) as pool:
        for link in list(pool._idle)[:1]:
            os.kill(link.pid, signal.SIGKILL)
        (await pool.take(PARAMS, Inbox().post)).release()


async def test_a_release_during_a_replay() -> None:
    """Nothing of it is left, and the place is free."""
    async with running(streams=1, warm=1) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        ear.feed(speech())
        (pid,) = pool.busy_pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pool.busy_pids != [pid])
        ear.release()
        ear.release()
        assert pool.live == 0
        assert await undisturbed(pool, speech()[:32000])
        assert pool.live == 0


async def test_a_killed_template_and_worker() -> None:
    """The stream goes on as soon as there is a process to hear it."""
    async with running(streams=2, warm=1) as pool:
        expected = finals(await undisturbed(pool, speech()))
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        ear.feed(speech()[:64000])
        await until(lambda: heard(inbox)[0] == 64000)
        for pid in list(pool.worker_pids):
            os.kill(pid, signal.SIGKILL)
        await play(ear, inbox, speech()[64000:])
        assert finals(inbox) == expected
        ear.release()


def test_the_log_behind_a_checkpoint() -> None:
    """What was heard is dropped, in the middle of a piece too; flushes are in their places."""
    log = Log(10)
    for entry in (b"abcd", None, b"efgh", None, b"ij"):
        log.add(entry)
    assert log.end == 20
    log.drop(12, is_answered=False)
    assert list(log.entries) == [b"cd", None, b"efgh", None, b"ij"]
    log.drop(14, is_answered=True)
    assert list(log.entries) == [b"efgh", None, b"ij"]
    log.drop(18, is_answered=True)
    assert list(log.entries) == [b"ij"]
    log.drop(20, is_answered=False)
    assert list(log.entries) == []


def test_a_full_log() -> None:
    """It keeps nothing more, and says so."""
    log = Log(0)
    for _ in range(9):
        log.add(bytes(MOST_KEPT_BYTES // 8))
    assert log.is_full
    assert list(log.entries) == []


async def test_a_checkpoint_that_cannot_be_read() -> None:
    """The stream is refused."""
    async with running(streams=2, warm=1) as pool:
        with pytest.raises(ServiceUnavailableError, match="checkpoint"):
            await pool.take(PARAMS, Inbox().post, Checkpoint(0, b"nonsense"))
        assert pool.live == 0


async def test_a_checkpoint_belongs_to_the_last_utterance_of_a_report() -> None:
    """Also where words of the next one follow it there."""
    word = Word("a", 0, 100, 1.0)
    ended = UtteranceHeard((word,), 0, 100, 500, 600)
    checkpoint = Checkpoint(6400, b"state")
    items = (ended, ended, PartialHeard((word,), 0))
    async with running(streams=1, warm=1) as pool:
        inbox = Inbox()
        ear = Ear(pool, PARAMS, inbox.post, None)
        ear.feed(bytes(6400))
        ear.take_report(Report(items, False, 6400, 100, True, checkpoint))
    arrived = [event for event in inbox.events if isinstance(event, UtteranceArrived)]
    assert [event.checkpoint for event in arrived] == [None, checkpoint]
