"""The unmodified official Python client for realtime speech, with only the endpoint changed."""

from __future__ import annotations

import asyncio
import wave
from importlib.metadata import version
from typing import Any

import oci
import pytest
from oci.ai_speech.models import RealtimeParameters
from oci_ai_speech_realtime import RealtimeSpeechClient, RealtimeSpeechClientListener

from stapes import samples

PATIENCE_S = 60


class Listener(RealtimeSpeechClientListener):  # type: ignore[misc]
    """Keeps what the client reports."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.finished = asyncio.Event()
        self.sessions: list[dict[str, Any]] = []
        self.partials: list[str] = []
        self.finals: list[str] = []
        self.acks: list[dict[str, int]] = []
        self.errors: list[dict[str, Any]] = []
        self.closes: list[int] = []

    def on_connect(self) -> None:
        """The socket is open."""

    def on_connect_message(self, connectmessage: dict[str, Any]) -> None:
        """CONNECT."""
        self.sessions.append(connectmessage)
        self.connected.set()

    def on_ack_message(self, ackmessage: dict[str, Any]) -> None:
        """ACKAUDIO."""
        self.acks.append(ackmessage["details"])

    def on_result(self, result: dict[str, Any]) -> None:
        """RESULT."""
        shown = result["transcriptions"][0]
        (self.finals if shown["isFinal"] else self.partials).append(shown["transcription"])
        if shown["isFinal"]:
            self.finished.set()

    def on_error(self, error: dict[str, Any]) -> None:
        """ERROR."""
        self.errors.append(error)
        self.connected.set()

    def on_network_event(self, message: Any) -> None:
        """Never called by this client."""

    def on_close(self, error_code: int, error_message: str) -> None:
        """The socket is closed."""
        self.closes.append(error_code)


def _client(server: Any, listener: Listener, **parameters: Any) -> Any:
    chosen = RealtimeParameters()
    chosen.encoding = "audio/raw;rate=16000"
    chosen.language_code = "en-US"
    chosen.model_domain = RealtimeParameters.MODEL_DOMAIN_GENERIC
    chosen.model_type = "ORACLE"
    chosen.should_ignore_invalid_customizations = False
    for name, value in parameters.items():
        setattr(chosen, name, value)
    return RealtimeSpeechClient(
        config=oci.config.from_file(str(server.home.config_file)),
        realtime_speech_parameters=chosen,
        listener=listener,
        service_endpoint=server.url.replace("http", "ws", 1),
        compartment_id=server.home.compartment_id,
    )


async def _stream(client: Any, listener: Listener) -> None:
    """As its users write it: send in 96 ms chunks, ask for the final, wait for it, close."""
    connecting = asyncio.create_task(client.connect())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await listener.connected.wait()
            with wave.open(str(samples.load("short").path)) as file:
                while chunk := file.readframes(1536):
                    await client.send_data(chunk)
                    await asyncio.sleep(0.02)
            await client.request_final_result()
            await listener.finished.wait()
    finally:
        client.close()
        await connecting


async def test_the_official_client_hears_the_sample(start_server: Any, heard: Any) -> None:
    """CONNECT, acks, several partials, a final with the sample's words, no error."""
    server = start_server(engine="pocketsphinx")
    listener = Listener()
    await _stream(_client(server, listener, is_ack_enabled=True), listener)
    assert listener.sessions[0]["event"] == "CONNECT"
    assert listener.sessions[0]["sessionId"].startswith("ocid1.aispeechrealtimesession.oc1..")
    heard(f"Python oci-ai-speech-realtime {version('oci-ai-speech-realtime')}", listener.finals)
    assert len(listener.partials) >= 3
    assert listener.finals == ["we will meet again on monday morning at nine o'clock"]
    assert [ack["number"] for ack in listener.acks] == list(range(1, len(listener.acks) + 1))
    assert listener.acks[1]["offset"] == listener.acks[0]["length"] == 3072
    assert listener.errors == []
    assert listener.closes == [1000]


async def test_without_acks_the_official_client_gets_none(served: Any) -> None:
    """The default of the service."""
    listener = Listener()
    await _stream(_client(served, listener, is_ack_enabled=False), listener)
    assert listener.acks == []
    assert listener.finals


@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")  # the client's own
async def test_the_official_client_reads_an_error_and_a_close(served: Any) -> None:
    """A compartment that does not exist: 404 in on_error, then on_close with 1008."""
    listener = Listener()
    client = _client(served, listener)
    client.compartment_id = "ocid1.compartment.oc1..unknown"
    async with asyncio.timeout(PATIENCE_S):
        await client.connect()
    assert [error["code"] for error in listener.errors] == [404]
    assert listener.closes == [1008]
