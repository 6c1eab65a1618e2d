"""What lies in the repository: names no place of anybody's, installs only what it pinned."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXECUTABLE = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]
SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".lock",
    ".json",
    ".ini",
    ".html",
    ".js",
    ".mjs",
    ".ts",
    ".sh",
    ".mako",
}

# Put together here, since this file is read by its own check.
REGISTRIES = [".".join(parts) for parts in [("pypi", "org"), ("pythonhosted", "org")]]
REGISTRIES += [
    ".".join(parts) for parts in [("registry", "npmjs", "org"), ("deb", "debian", "org")]
]
HOMES = [f"/{folder}/[A-Za-z.]" for folder in ("home", "root", "Users")]
REFUSED = re.compile("|".join([*map(re.escape, REGISTRIES), *HOMES]))

PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
HASHED = re.compile(r"^ {4}--hash=sha256:[0-9a-f]{64}( \\)?$")


def ignored() -> list[str]:
    """The names that version control leaves out, from .gitignore; .git itself too."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return [".git", *(line.rstrip("/") for line in lines)]


def text_files() -> Iterator[Path]:
    """Every text file of the checkout that is, or could be, committed."""
    patterns = ignored()
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if not any(fnmatch(name, p) for p in patterns)]
        paths = (Path(folder) / file for file in files)
        yield from (path for path in paths if path.suffix in SUFFIXES or path in EXECUTABLE)


def refused_lines(text: str) -> list[str]:
    """The lines that name a registry's host or a folder in somebody's home."""
    return [line for line in text.splitlines() if REFUSED.search(line)]


def test_no_file_names_a_registry_host_or_a_home_folder() -> None:
    """What is committed works the same for everybody, behind whatever mirror they use."""
    found = {
        path.relative_to(ROOT): refused_lines(path.read_text("utf-8")) for path in text_files()
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_walk_reads_the_repository() -> None:
    """Sources, scripts, lock and documents are all among the files that are checked."""
    names = {path.relative_to(ROOT).as_posix() for path in text_files()}
    assert {"pyproject.toml", "requirements.lock", "scripts/setup", "CONTRIBUTING.md"} <= names
    assert "src/stapes/errors.py" in names
    assert not any(name.startswith(".venv/") for name in names)


@pytest.mark.parametrize("line", [f"index = https://{host}/simple" for host in REGISTRIES])
def test_the_checker_finds_a_registry_host(line: str) -> None:
    """Each registry's host is found inside a line."""
    assert refused_lines(f"first\n{line}\nlast") == [line]


@pytest.mark.parametrize("folder", ["home", "root", "Users"])
def test_the_checker_finds_a_home_folder(folder: str) -> None:
    """An absolute path below a home is found; the word alone is not."""
    line = f"cd /{folder}/somebody/stapes"
    assert refused_lines(f"{line}\nthe {folder} folder") == [line]


@pytest.mark.parametrize("path", EXECUTABLE, ids=lambda path: path.name)
def test_a_script_can_be_run_as_it_is(path: Path) -> None:
    """Executable, bash by its first line, stops at the first failure."""
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text


def test_every_pinned_package_has_hashes() -> None:
    """Each requirement is pinned exactly and followed by at least one SHA-256."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [number for number, line in enumerate(lines) if PINNED.match(line)]
    assert len(pinned) > 50
    assert [lines[number] for number in pinned if not HASHED.match(lines[number + 1])] == []


def test_the_lock_holds_nothing_but_pins_hashes_and_their_reasons() -> None:
    """No option (an index, a folder of links) and no URL stands in it."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    plain = [line for line in lines if not line.startswith("    #")]
    assert [line for line in plain if not (PINNED.match(line) or HASHED.match(line))] == []


def test_the_lock_holds_every_dependency_that_the_project_names() -> None:
    """A dependency added to pyproject.toml without making the lock again is found here."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^  "([A-Za-z0-9._-]+)(?:\[\w+\])?>=', project, re.MULTILINE)
    locked = {name for name, _ in PINNED.findall((ROOT / "requirements.lock").read_text("utf-8"))}
    assert len(named) > 20
    assert sorted({name.lower() for name in named} - locked) == []


def test_the_packages_for_node_are_pinned_and_hashed() -> None:
    """Each is named in one exact version, locked by a hash, and not tied to an address."""
    folder = ROOT / "tests" / "clients" / "node"
    named = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    assert locked.pop("")["dependencies"] == named
    assert {name: locked[f"node_modules/{name}"]["version"] for name in named} == named
    assert [path for path, package in locked.items() if "integrity" not in package] == []
    assert [path for path, package in locked.items() if "resolved" in package] == []
