"""The document on the client: its examples run as they stand, its tables name what there is."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stapes
from stapes.client.files import file_source
from stapes.samples import load
from tests.conftest import Served

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
LIVE, PLAIN, MINTING = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHORT = load("short").path


@pytest.fixture
def example(served: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Make the functions of an example, at the test's own server."""
    monkeypatch.setenv("OCI_CONFIG_FILE", str(served.home.config_file))

    def define(code: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(code.replace("http://127.0.0.1:8080", served.url), names)  # noqa: S102
        return names

    return define


async def _spoken() -> AsyncIterator[bytes]:
    for chunk in file_source(SHORT).chunks():
        yield chunk


def test_live_example_prints_results(
    example: Callable[[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Partials, then the final."""
    asyncio.run(example(LIVE)["listen"](_spoken()))
    printed = capsys.readouterr().out.splitlines()  # the server's log too
    lines = [line for line in printed if line.startswith(("partial ", "final "))]
    assert lines[0].startswith("partial zero")
    assert lines[-1].startswith("final   zero one two")


def test_example_without_a_loop_returns_finals(
    example: Callable[[str], dict[str, Any]],
) -> None:
    """From any chunks."""
    chunks: Iterator[bytes] = file_source(SHORT).chunks()
    (text,) = example(PLAIN)["transcribe"](chunks)
    assert text.startswith("zero one two")


def test_example_of_a_backend_makes_a_token_that_connects(
    example: Callable[[str], dict[str, Any]], served: Served
) -> None:
    """Its JSON is all that a client needs."""
    handed_on = example(MINTING)["token_for"]("7")
    token = stapes.RealtimeSessionToken.model_validate_json(handed_on)
    assert token.freeform_tags == {"call": "7"}
    with stapes.connect_sync(served.url, token=token) as session:
        assert session.session_id == token.session_id


def test_arguments_are_all_there() -> None:
    """One row each, in order."""
    table = TEXT.partition("## What to connect with")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(
        inspect.signature(stapes.connect).parameters
    )


def test_public_names_are_there() -> None:
    """Each name that the package offers can be had, and no other."""
    assert all(getattr(stapes, name) is not None for name in stapes.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stapes.nothing
