"""A profile whose key exists, and a stand-in for servers that misbehave."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.asyncio.server import ServerConnection, serve

from stapes import samples
from stapes.client.profile import Profile

Behaviour = Callable[[ServerConnection], Awaitable[None]]
Stand = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Nobody that a server knows."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    key_file = tmp_path_factory.mktemp("profile") / "key.pem"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Profile("DEFAULT", "ocid1.user.oc1..u", "ocid1.tenancy.oc1..t", "aa:bb", key_file, "c")


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Bundled speech of some seconds, 16 kHz s16le."""
    with wave.open(str(samples.load("short").path)) as file:
        frames: bytes = file.readframes(file.getnframes())
        return frames


@pytest.fixture
async def stand_in() -> AsyncIterator[Stand]:
    """Start a websocket server that behaves as told; gives its base URL."""
    async with AsyncExitStack() as stack:

        async def start(behave: Behaviour, **options: Any) -> str:
            server = await stack.enter_async_context(serve(behave, "127.0.0.1", 0, **options))
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield start
