"""The documents for operators: their commands run, and their figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from stapes.settings import Settings
from tests.docs.shell import run

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
DEPLOYMENT = (DOCS / "deployment.md").read_text(encoding="utf-8")


def test_the_key_for_prometheus_reads_the_figures(start_server: Any, tmp_path: Path) -> None:
    """The commands make a key that reads every figure of the table, and the table has them all."""
    server = start_server()
    commands = re.findall(r"```sh\n(.*?)```", OPERATIONS, re.DOTALL)[0]
    run(commands, server.home.path, tmp_path)
    key = (tmp_path / "stapes.key").read_text().strip()
    answer = httpx.get(
        f"{server.url}/metrics", headers={"authorization": f"Bearer {key}"}, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    told = set(re.findall(r"^# TYPE (stapes_\w+)", answer.text, re.MULTILINE))
    told -= {name for name in told if name.endswith("_created")}
    assert told == named_figures()


def named_figures() -> set[str]:
    """The figures in the first column of the table."""
    cells = re.findall(r"^\| (`stapes_[^|]*) \|", OPERATIONS, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(stapes_\w+)`", cell)}


def test_the_service_has_time_to_stop() -> None:
    """Longer than live sessions may go on, and their last words may take."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", DEPLOYMENT, re.MULTILINE)
    assert found is not None
    fields = Settings.model_fields
    stopping_s = fields["drain_window_s"].default + fields["drain_timeout_s"].default
    assert int(found[1]) > stopping_s


def test_the_settings_that_are_named_exist() -> None:
    """Those in settings files, and those that the text speaks of with their unit."""
    text = OPERATIONS + DEPLOYMENT
    named = set(re.findall(r"`(\w+_(?:s|days|per_\w+))`", text))
    named |= set(re.findall(r"^(\w+) = ", text, re.MULTILINE))
    assert named
    assert named <= set(Settings.model_fields)
