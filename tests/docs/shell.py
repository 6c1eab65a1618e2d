"""Runs what the documents tell operators to type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import stapes

SOURCES = str(Path(stapes.__file__).parents[1])


def run(commands: str, home: Path, folder: Path) -> str:
    """Run commands in a folder, for a home, with ``stapes`` on the PATH; returns what they print.

    The first that fails ends it, and the test.
    """
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands],
        env={**os.environ, "STAPES_HOME": str(home), "PATH": tools, "PYTHONPATH": SOURCES},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
