"""The document on security: what it says holds a promise is there, and every attack is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+(?:::\w+)?)`", TEXT)))


@pytest.mark.parametrize("named", NAMED)
def test_every_test_that_is_named_exists(named: str) -> None:
    """File or folder, and the function in it."""
    path, _, function = named.partition("::")
    assert (ROOT / path).exists()
    if function:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_promise_names_a_test() -> None:
    """A row without one is an intention."""
    promised = TEXT.partition("## What is promised")[2].partition("## What is not promised")[0]
    heads = {"| promise | held by |"}
    rows = [it for it in promised.splitlines() if it.startswith("| ") and it not in heads]
    assert len(rows) > 20
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "attacks").glob("test_*.py")))
def test_every_attack_is_listed(path: Path) -> None:
    """By its file at least."""
    assert f"tests/attacks/{path.name}" in TEXT
