"""The unmodified official client for browsers, in Chromium, with a microphone that is a file.

Needs Node and Chromium; the variable CHROMIUM names its program. The token is a backend's, by an
unmodified SDK.
"""

from __future__ import annotations

import json
import os
import re
import wave
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oci
from oci.ai_speech.models import CreateRealtimeSessionTokenDetails

from stapes import samples
from tests.clients.conftest import node_version, run_node

if TYPE_CHECKING:
    from stapes.cli.own_server import OwnServer
    from tests.clients.conftest import Heard

WEB = "@oracle/oci-ai-speech-realtime-web"
UNTIL = "monday morning"
PATIENCE_MS = 60_000
SILENCE_S = 3
"""Longer than the pause that ends an utterance; the browser plays the file over and over."""

Session = dict[str, str]


def mint_with_python(installation: OwnServer) -> Session:
    """A session by the SDK for Python."""
    config = oci.config.from_file(str(installation.config_file))
    client = oci.ai_speech.AIServiceSpeechClient(config, service_endpoint=installation.url)
    details = CreateRealtimeSessionTokenDetails(compartment_id=installation.profile.compartment)
    with client.base_client.session as session:
        session.trust_env = False
        answer = client.create_realtime_session_token(details).data
    return {"token": answer.token, "sessionId": answer.session_id}


def mint_with_node(installation: OwnServer) -> Session:
    """A session by the SDK for Node."""
    compartment = installation.profile.compartment
    answer = run_node("token.mjs", installation.url, str(installation.config_file), compartment)
    token: Session = answer["realtimeSessionToken"]
    return token


def make_microphone(path: Path) -> None:
    """Write the bundled sample to ``path``, and silence behind it."""
    with wave.open(str(samples.load("short").path)) as sample, wave.open(str(path), "wb") as file:
        file.setparams(sample.getparams())
        file.writeframes(sample.readframes(sample.getnframes()))
        file.writeframes(bytes(SILENCE_S * sample.getframerate() * sample.getsampwidth()))


def hear_in_browser(installation: OwnServer, session: Session, folder: Path) -> Any:
    """What the page showed once it heard the sample, or lost its patience."""
    make_microphone(folder / "microphone.wav")
    asked = {
        "chromium": os.environ["CHROMIUM"],
        "microphone": str(folder / "microphone.wav"),
        "until": UNTIL,
        "patienceMs": PATIENCE_MS,
        "session": {
            "endpoint": installation.url.replace("http", "ws", 1) + "/ws/transcribe/stream",
            "compartmentId": installation.profile.compartment,
            "token": session["token"],
        },
    }
    return run_node("browser.mjs", sent=json.dumps(asked).encode())


def check(installation: OwnServer, heard: Heard, folder: Path, minted: tuple[str, Session]) -> None:
    """The token's session, a final with the sample's words, no error."""
    sdk, session = minted
    came = hear_in_browser(installation, session, folder)
    browser = re.search(r"Chrome/\d+", came["userAgent"])
    assert browser
    heard(f"{WEB} {node_version(WEB)} in {browser[0]}, token by {sdk}", came["finals"])
    assert came["errors"] == []
    assert came["sessionId"] == session["sessionId"]
    assert any(UNTIL in words for words in came["finals"])


def test_the_browser_hears_its_microphone_with_a_token_by_python(
    installation: OwnServer, heard: Heard, tmp_path: Path
) -> None:
    """The page streams with what ``oci`` minted for it."""
    minted = (f"Python oci {version('oci')}", mint_with_python(installation))
    check(installation, heard, tmp_path, minted)


def test_the_browser_hears_its_microphone_with_a_token_by_node(
    installation: OwnServer, heard: Heard, tmp_path: Path
) -> None:
    """The page streams with what ``oci-aispeech`` minted for it."""
    minted = (f"Node oci-aispeech {node_version('oci-aispeech')}", mint_with_node(installation))
    check(installation, heard, tmp_path, minted)
