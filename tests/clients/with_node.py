"""The unmodified official clients for Node, with only the endpoint changed. Needs Node."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, Any

from stapes import samples
from tests.clients.conftest import node_version, run_node

if TYPE_CHECKING:
    from stapes.cli.own_server import OwnServer
    from tests.clients.conftest import Heard

REALTIME = "@oracle/oci-ai-speech-realtime"


def hear_sample(installation: OwnServer) -> Any:
    """What the realtime client got for the bundled sample."""
    url = installation.url.replace("http", "ws", 1)
    with wave.open(str(samples.load("short").path)) as file:
        audio = file.readframes(file.getnframes())
    compartment = installation.profile.compartment
    return run_node("stream.mjs", url, str(installation.config_file), compartment, sent=audio)


def test_the_official_client_hears_the_sample(installation: OwnServer, heard: Heard) -> None:
    """CREDENTIALS, CONNECT, acks, several partials, a final with the sample's words, no error."""
    came = hear_sample(installation)
    heard(f"Node {REALTIME} {node_version(REALTIME)}", came["finals"])
    assert came["errors"] == []
    assert came["connects"][0]["event"] == "CONNECT"
    assert len(came["partials"]) >= 3
    assert came["finals"] == ["we will meet again on monday morning at nine o'clock"]
    assert [ack["number"] for ack in came["acks"]] == list(range(1, len(came["acks"]) + 1))
