"""What the clients share: one served installation, Node, and the report of what each heard."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stapes.cli.own_server import OwnServer, own_server

NODE = Path(__file__).parent / "node"
PATIENCE_S = 120
END_PATIENCE_S = 60

Heard = Callable[[str, list[str]], None]


@pytest.fixture(scope="session")
def installation() -> Iterator[OwnServer]:
    """`stapes init` and `stapes serve`, with the engine that both have by themselves."""
    with own_server() as server:
        yield server


@pytest.fixture
def heard(record_property: Callable[[str, Any], None]) -> Heard:
    """Tell which client heard what; it is printed at the end, however the test ends."""

    def tell(client: str, finals: list[str]) -> None:
        record_property("heard", (client, finals))

    return tell


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Each client, and a line for each final that it read."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    found = [value for r in reports for name, value in r.user_properties if name == "heard"]
    if found:
        terminalreporter.section("heard by the official clients")
    for client, finals in found:
        terminalreporter.write_line(client)
        for words in finals or ["(nothing)"]:
            terminalreporter.write_line(f"    {words}")


def node_version(package: str) -> str:
    """The version of ``package`` that is installed for Node."""
    manifest = NODE / "node_modules" / package / "package.json"
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])


def run_node(script: str, *arguments: str, sent: bytes = b"") -> Any:
    """Run ``script`` with ``sent`` as its input; what it wrote, read as JSON.

    It ends here in any case, and its browser with it.
    """
    command = ["node", str(NODE / script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            written, _ = process.communicate(sent, PATIENCE_S)
        finally:
            _end(process)
    assert process.returncode == 0, f"{script} ended with {process.returncode}"
    return json.loads(written)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
