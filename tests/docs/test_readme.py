"""The README: its examples run as they stand, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stapes import samples
from stapes.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORT = samples.load("short")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def server(start_server: Any) -> Any:
    return start_server(engine="pocketsphinx")


def run(server: Any, command: list[str], **options: Any) -> str:
    """Run with the served home in place of ~/.stapes and ``stapes`` on the PATH."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "HOME": str(server.home.path.parent),
        "OCI_CONFIG_FILE": str(server.home.config_file),
        "STAPES_HOME": str(server.home.path),
        "PATH": tools,
    }
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    printed: str = done.stdout
    return printed


def adapted(code: str, server: Any) -> str:
    """An example at the test's own port and home."""
    here = server.url.removeprefix("http://")
    home = str(server.home.path)
    return code.replace("127.0.0.1:8080", here).replace("~/.stapes", home)


def test_the_first_commands_are_scripts_that_can_be_run() -> None:
    """A newcomer types them as they stand."""
    for line in blocks("sh")[0].splitlines():
        script = ROOT / line.split()[0]
        assert os.access(script, os.X_OK), script


def test_the_backend_example_prints_a_token(server: Any, tmp_path: Path) -> None:
    """Oracle's SDK, with nothing changed but the endpoint."""
    code = adapted(blocks("python")[0], server)
    printed = run(server, [sys.executable, "-W", "ignore", "-c", code])
    session_id, compartment_id, *_ = printed.split()
    assert session_id.startswith("ocid1.aispeechrealtimesession.")
    assert compartment_id == server.home.compartment_id


def test_the_client_example_prints_the_transcript(server: Any, tmp_path: Path) -> None:
    """``stapes token | python stream.py speech.wav``."""
    token = run(server, [sys.executable, "-m", "stapes", "token", "--url", server.url])
    script = tmp_path / "stream.py"
    script.write_text(adapted(blocks("python")[1], server))
    printed = run(server, [sys.executable, str(script), str(SHORT.path)], input=token)
    assert printed == "we will meet again on monday morning at nine o'clock\n"


def test_the_websocket_example_hears_the_sample(server: Any, tmp_path: Path) -> None:
    """``stapes token | python hear.py speech.wav``."""
    token = run(server, [sys.executable, "-m", "stapes", "token", "--url", server.url])
    script = tmp_path / "hear.py"
    script.write_text(adapted(blocks("python")[2], server))
    printed = run(server, [sys.executable, str(script), str(SHORT.path)], input=token)
    assert "partial" in printed
    assert "final   we will meet again on monday morning at nine o'clock" in printed


def test_the_shell_example_runs(server: Any, tmp_path: Path) -> None:
    """Every command of it but the server, which the test has started already."""
    (tmp_path / "speech.wav").write_bytes(SHORT.path.read_bytes())
    lines = adapted(blocks("sh")[1], server).splitlines()
    script = "\n".join(
        line.replace("stapes token", f"stapes token --url {server.url}")
        for line in lines
        if not line.startswith("stapes serve")
    )
    printed = run(server, ["bash", "-euc", script], cwd=tmp_path)
    assert '"sessionId"' in printed
    assert "monday morning at nine o'clock" in printed


def test_every_setting_is_documented() -> None:
    """The table is made from the settings, default and help word for word."""
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        assert f"| `{name}` | {default} | {field.description} |" in README
