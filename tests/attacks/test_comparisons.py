"""Learning a secret from how long its comparison takes."""

from __future__ import annotations

import ast
import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import stapes
from stapes.identity.access import find_bearer_key
from stapes.identity.bearer import ENTROPY_BYTES, make_bearer_key
from stapes.identity.model import Directory, User

SOURCES = Path(stapes.__file__).parent
SECRETS = ("secret", "sha256", "digest", "signature", "hmac", "master_key", "pass_phrase")
"""What a name holds, of which nobody may learn by comparing."""

OPEN = {
    "server/retries.py": {"record.body_sha256", "body_sha256"},  # of a caller's own two requests
    "accounts/audit.py": {"_digest_of(row)"},  # of what the log itself shows
    "models/pulling.py": {"found.sha256", "promised.sha256"},  # of published files
}
"""Comparisons of what no peer must not know."""


def comparisons() -> Iterator[tuple[str, str]]:
    """File and text of every operand of ``==`` and ``!=`` that is named like a secret."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Compare):
                continue
            if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
                continue
            for operand in (node.left, *node.comparators):
                text = ast.unparse(operand)
                if not isinstance(operand, ast.Constant) and _is_secret(text):
                    yield str(path.relative_to(SOURCES)), text


def _is_secret(text: str) -> bool:
    return any(word in text.lower() for word in SECRETS)


def test_no_secret_is_compared_by_its_first_difference() -> None:
    """``==`` ends at the first byte that differs; where it stands, nothing is secret."""
    assert [it for it in comparisons() if it[1] not in OPEN.get(it[0], ())] == []


@pytest.mark.parametrize("module", ["identity/access.py", "signing/verification.py"])
def test_secrets_are_compared_in_constant_time(module: str) -> None:
    """Digests of bearer keys and of bodies go through the library's comparison."""
    assert "hmac.compare_digest(" in (SOURCES / module).read_text("utf-8")


@pytest.mark.parametrize("module", ["tokens/verification.py", "signing/verification.py"])
def test_signatures_are_verified_by_the_library(module: str) -> None:
    """No signature is made to be compared with the one that came."""
    text = (SOURCES / module).read_text("utf-8")
    assert ".sign(" not in text
    assert ".verify(" in text or "_JWS.decode(" in text


def test_unknown_bearer_key_runs_the_same_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an id that does not exist a digest is compared too: its absence takes as long."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key, text = make_bearer_key("u", bytes(range(ENTROPY_BYTES)))
    directory = Directory(users={"u": User("u", "u", "t")}, bearer_keys={key.id: key})
    secret, now = text.rpartition(f"{key.id}_")[2], datetime.now(UTC)
    assert find_bearer_key(directory, key.id, secret, now) == key
    assert find_bearer_key(directory, key.id, "x" * 43, now) is None
    assert find_bearer_key(directory, "a" * 16, secret, now) is None
    assert find_bearer_key(directory, "a" * 16, "", now) is None
    length = hashlib.sha256().digest_size * 2
    assert compared == [(length, length)] * 4
