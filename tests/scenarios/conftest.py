"""A bare websocket peer, and tokens for it."""

from __future__ import annotations

import asyncio
import json
import shutil
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from stapes import CreateRealtimeSessionTokenDetails, RealtimeSessionToken, samples
from stapes.client.profile import read_profile
from stapes.client.tokens import mint_token
from tests.conftest import Served, running_server
from tests.engines.models import DIGITS
from tests.shelf import install
from tests.waiting import PATIENCE_S


@dataclass
class Peer:
    """A websocket without any client library's habits: it keeps every message it reads."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def authenticate(self, token: RealtimeSessionToken) -> dict[str, Any]:
        """Send the token as the first message; the answer: CONNECT or ERROR."""
        await self.send_json(
            authenticationType="TOKEN", compartmentId=token.compartment_id, token=token.token
        )
        return await self.read()

    async def send_json(self, **message: Any) -> None:
        """Send a text frame."""
        await self.socket.send(json.dumps(message))

    async def send_audio(self, pcm: bytes, chunk_bytes: int = 3200) -> None:
        """Send audio in chunks, as fast as the server takes it."""
        for start in range(0, len(pcm), chunk_bytes):
            await self.socket.send(pcm[start : start + chunk_bytes])

    async def read(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        self.messages.append(message)
        return message

    async def read_final(self) -> dict[str, Any]:
        """The transcription of the next final result."""
        while True:
            message = await self.read()
            if message["event"] == "ERROR":
                raise AssertionError(message)
            if message["event"] == "RESULT" and message["transcriptions"][0]["isFinal"]:
                shown: dict[str, Any] = message["transcriptions"][0]
                return shown

    async def hear(self, pcm: bytes) -> str:
        """Send audio, ask for the final, return the text of all finals up to that answer."""
        await self.send_audio(pcm)
        for _ in range(2):  # the second answer is empty: it says that the first was the last
            await self.send_json(event="SEND_FINAL_RESULT")
        texts = []
        while shown := (await self.read_final())["transcription"]:
            texts.append(shown)
        return " ".join(texts)

    async def read_to_close(self) -> tuple[int, int | None]:
        """Code of the ERROR (0 when none came) and of the close, past anything else."""
        code = 0
        try:
            while True:
                message = await self.read()
                code = message["code"] if message["event"] == "ERROR" else code
        except ConnectionClosed:
            return code, self.socket.close_code


@asynccontextmanager
async def peer(url: str, query: str = "", **options: Any) -> AsyncIterator[Peer]:
    """A bare connection to the stream's path, closed at the end."""
    target = f"{url}?{query}" if query else url
    async with connect(target, ping_interval=None, max_size=None, proxy=None, **options) as socket:
        yield Peer(socket)


@pytest.fixture
def mint() -> Callable[..., RealtimeSessionToken]:
    """Mint a token at a server's endpoint with its administrator's key."""

    def mint(server: Any, **tags: Any) -> RealtimeSessionToken:
        profile = read_profile(server.home.config_file)
        details = CreateRealtimeSessionTokenDetails(
            compartment_id=server.home.compartment_id, **tags
        )
        return mint_token(server.url, profile, details)

    return mint


@pytest.fixture(name="peer")
def _peer() -> Any:
    return peer


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Bundled speech of some three seconds, 16 kHz s16le."""
    return _frames("short")


@pytest.fixture(scope="session")
def digits() -> bytes:
    """Bundled digits, 16 kHz s16le."""
    return _frames("digits")


def _frames(name: str) -> bytes:
    with wave.open(str(samples.load(name).path)) as file:
        frames: bytes = file.readframes(file.getnframes())
        return frames


@pytest.fixture(scope="session")
def hearing(tiny_whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with two models: spoken digits, and a Whisper of random weights.

    What the latter hears means nothing.
    """
    folder = tmp_path_factory.mktemp("hearing")
    shelf = folder / "models"
    shutil.copytree(DIGITS, shelf / DIGITS.name)
    whisper = install(shelf, "whisper", "*", engine="whisper", model_type="WHISPER")
    assert whisper.folder is not None
    shutil.copytree(tiny_whisper, whisper.folder, dirs_exist_ok=True)
    with running_server(folder / "home", engine=None, models_folder=shelf, streams=4) as server:
        yield server
