"""The pure packages stay pure: values in, values out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
PURE = ("protocol", "signing", "tokens", "identity", "audio", "accounts")
PACKAGES = sorted(path for name in PURE for path in (SRC / "stapes" / name).rglob("*.py"))
BOOKS = ("results", "resuming")  # of the client, whose other modules talk to the network
MODULES = [*PACKAGES, *(SRC / "stapes" / "client" / f"{name}.py" for name in BOOKS)]

# What may be imported, not what may not: a new import is a question of its own, asked here.
ALLOWED = {
    *("__future__", "base64", "binascii", "bisect", "collections", "contextlib"),
    *(
        "dataclasses",
        "datetime",
        "decimal",
        "email.utils",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "hmac",
        "ipaddress",
    ),
    *("itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing"),
    *("urllib.parse", "cryptography", "jwt", "numpy", "pydantic"),
    *("pydantic_core", "soxr", "stapes.errors"),
    *(f"stapes.{name}" for name in PURE),
    *(f"stapes.client.{name}" for name in BOOKS),
}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
IMPURE_METHODS = {
    *("now", "utcnow", "today", "localtime", "formatdate"),  # the clock
    *("random", "default_rng", "generate", "generate_key", "generate_private_key"),  # chance
    *("fromfile", "tofile", "memmap", "loadtxt", "savetxt"),  # files
}


def impurities(source: str) -> Iterator[str]:
    """What a module's source imports or calls that a pure package may not, with its line."""
    for node in ast.walk(ast.parse(source)):
        for name in _impure_names(node):
            yield f"line {getattr(node, 'lineno', 0)}: {name}"


def _impure_names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names if not _allowed(alias.name)]
        case ast.ImportFrom(module=module, level=0):
            return [] if _all_allowed(str(module), node.names) else [str(module)]
        case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
            return [f"{name}()"]
        case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_METHODS:
            return [f".{name}()"]
        case _:
            return []


def _all_allowed(module: str, names: list[ast.alias]) -> bool:
    """``from stapes import errors`` counts as ``stapes.errors``."""
    return _allowed(module) or all(_allowed(f"{module}.{alias.name}") for alias in names)


def _allowed(module: str) -> bool:
    parents = module.split(".")
    return any(".".join(parents[:end]) in ALLOWED for end in range(1, len(parents) + 1))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_of_a_pure_package_touches_nothing_outside_itself(path: Path) -> None:
    """No clock, socket, file, thread, process, log or random source is imported or called."""
    assert list(impurities(path.read_text(encoding="utf-8"))) == []


def test_every_pure_package_is_read() -> None:
    """The check covers all five packages, so an empty list of modules cannot pass for purity."""
    assert {path.relative_to(SRC / "stapes").parts[0] for path in PACKAGES} == set(PURE)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "import socket, re",
        "import asyncio",
        "import threading",
        "import multiprocessing.pool",
        "import subprocess",
        "import logging",
        "import structlog",
        "import random",
        "import secrets",
        "import uuid",
        "from pathlib import Path",
        "from os import environ",
        "from email import message",
        "from urllib import request",
        "from stapes import settings",
        "from stapes.store.port import Store",
        "import stapes.server.app",
        "def late():\n    import io",
        "from datetime import datetime\nborn = datetime.now()",
        "import datetime\nborn = datetime.datetime.utcnow()",
        "from datetime import date\nday = date.today()",
        "def read(path):\n    return open(path).read()",
        "print('seen')",
        "import numpy as np\nnoise = np.random.default_rng()",
        "from cryptography.hazmat.primitives.asymmetric import ed25519\n"
        "key = ed25519.Ed25519PrivateKey.generate()",
        "clock = __import__('time')",
    ],
)
def test_the_checker_finds_each_kind_of_impurity(source: str) -> None:
    """Each of these sources is refused."""
    assert len(list(impurities(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndef is_past(now: datetime) -> bool: ...",
        "from urllib.parse import urlsplit",
        "from stapes import errors",
        "from stapes.audio.encodings import Encoding",
        "from . import words",
        "class Door:\n    def open(self): ...\n\ndef enter(door):\n    door.open()",
        "import re\npattern = re.compile('a')",
        "import numpy as np\nzeros = np.zeros(160, np.int16)",
    ],
)
def test_the_checker_lets_pure_sources_pass(source: str) -> None:
    """A type of the clock, a name like `open` of one's own and pure libraries are no impurity."""
    assert list(impurities(source)) == []
