"""What is started often starts with little: the command line, and the processes that hear."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVING = {"fastapi", "httpx", "sqlalchemy", "uvicorn", "websockets"}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("stapes", {"pydantic", "numpy", *SERVING}),
        ("stapes.cli", {"numpy", "cryptography", *SERVING}),
        ("stapes.workers.template", {"pydantic", *SERVING}),
        ("stapes.engines.scripted", {"pydantic", *SERVING}),
    ],
)
def test_a_module_loads_no_more_than_it_needs(module: str, spared: set[str]) -> None:
    """Each of these would take as long as all the rest together."""
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    loaded = set(subprocess.check_output(command, text=True).split())
    assert module in loaded
    assert loaded & spared == set()
