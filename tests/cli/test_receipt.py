"""``stapes receipt``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stapes.accounts.receipts import StreamUse, receipt, sign
from stapes.server.home import Home
from stapes.server.new_home import create_home
from stapes.tokens.keys import jwks
from tests.cli.conftest import Run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return create_home(tmp_path_factory.mktemp("home") / "home", NOON)[0]


@pytest.fixture(scope="module")
def signed(home: Home) -> dict[str, Any]:
    """A receipt that this home's key signed."""
    unsigned = receipt(
        session_id="ocid1.session",
        tenancy_id="t",
        compartment_id="c",
        user_id="u",
        issuer="stapes",
        freeform_tags={"room": "é"},
        defined_tags=None,
        streams=[StreamUse(1, "scripted", NOON, NOON, "peer", 61_007, 2, 3, 4)],
    )
    return sign(unsigned, next(iter(home.signing_keys().values())))


@pytest.fixture
def file(signed: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(signed, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def key_set(home: Home) -> str:
    """What a server publishes, with a key of another kind beside ours."""
    keys = jwks(key.private_key.public_key() for key in home.signing_keys().values())
    return json.dumps({"keys": [{"kty": "RSA", "kid": "other"}, *keys["keys"]]})


@pytest.fixture(scope="module")
def published(key_set: str) -> Iterator[str]:
    """The base URL of a server that has the keys, and an answer of 500 below /broken."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/.well-known/receipt-keys.json"
            self.send_response(200 if found else 500)
            self.end_headers()
            self.wfile.write(key_set.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_receipt_verifies_with_the_homes_keys(run: Run, home: Home, file: Path) -> None:
    """And what it says is told."""
    result = run("receipt", "verify", file, "--home", home.path)
    assert result.exit_code == 0
    (kid,) = home.signing_keys()
    assert result.output.splitlines() == [
        f"The receipt verifies. It is signed with the key {kid}.",
        "  session  ocid1.session",
        "  issuer   stapes",
        "  audio    61.007 s in 1 streams",
    ]


def test_a_receipt_outlives_its_key(run: Run, file: Path, home: Home) -> None:
    """A retired key signs no tokens, and what it signed stays true."""
    assert run("keys", "rotate", "--now", "--home", home.path).exit_code == 0
    assert run("receipt", "verify", file, "--home", home.path).exit_code == 0


def test_a_receipt_is_read_from_standard_input(run: Run, home: Home, file: Path) -> None:
    """``-`` names it."""
    result = run("receipt", "verify", "-", "--home", home.path, input=file.read_bytes())
    assert result.exit_code == 0


def test_keys_come_from_a_file(run: Run, file: Path, key_set: str, tmp_path: Path) -> None:
    """No home is needed."""
    (tmp_path / "keys.json").write_text(key_set)
    result = run("receipt", "verify", file, "--keys", tmp_path / "keys.json")
    assert result.exit_code == 0


def test_keys_come_from_a_server(run: Run, file: Path, published: str) -> None:
    """With or without a slash at the end."""
    for url in (published, f"{published}/"):
        assert run("receipt", "verify", file, "--keys", url).exit_code == 0


@pytest.mark.parametrize("change", [{"words": 5}, {"userId": "eve"}, {"signature": None}])
def test_a_changed_receipt_is_refused(
    run: Run, home: Home, signed: dict[str, Any], change: dict[str, Any]
) -> None:
    """Exit code 1, in one line."""
    text = json.dumps({**signed, **change})
    result = run("receipt", "verify", "-", "--home", home.path, input=text)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_another_homes_keys_do_not_verify_it(run: Run, file: Path, tmp_path: Path) -> None:
    """They are unknown there."""
    create_home(tmp_path / "other", NOON)
    result = run("receipt", "verify", file, "--home", tmp_path / "other")
    assert result.exit_code == 1
    assert "is signed with an unknown key" in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("[]", "is no JSON object"),
        ("{}", "has no signature"),
        ('{"a": 1, "a": 1}', "a member is there twice"),
        ("[" * 100_000, "is no JSON"),
        ("\x00\xff", "is no JSON"),
    ],
)
def test_what_is_no_receipt_is_refused(run: Run, home: Home, text: str, message: str) -> None:
    """In one line, whatever it is."""
    result = run("receipt", "verify", "-", "--home", home.path, input=text.encode("latin-1"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr


def test_a_member_that_is_there_twice_is_refused(
    run: Run, home: Home, signed: dict[str, Any]
) -> None:
    """Another reader might take the other one."""
    text = '{"audioInMs": 1, ' + json.dumps(signed)[1:]
    result = run("receipt", "verify", "-", "--home", home.path, input=text)
    assert (result.exit_code, "a member is there twice" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("http://speech.example.org", "has to begin with https://, or be this machine"),
        ("ftp://127.0.0.1", "is no URL of a server"),
        ("ws://127.0.0.1", "has to begin with https://, or be this machine"),
        ("http://127.0.0.1:9", "no server answers at"),
        ("missing.json", "cannot read missing.json"),
    ],
)
def test_keys_that_cannot_be_had_are_told(run: Run, file: Path, keys: str, message: str) -> None:
    """Nothing is fetched that somebody on the way could replace."""
    result = run("receipt", "verify", file, "--keys", keys)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr


def test_a_server_without_keys_is_told(run: Run, file: Path, published: str) -> None:
    """By its URL."""
    result = run("receipt", "verify", file, "--keys", f"{published}/broken")
    assert result.exit_code == 1
    assert "/broken/.well-known/receipt-keys.json is no set of keys" in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": 1}', '{"keys": [1, {}, {"kid": []}]}'])
def test_what_is_no_set_of_keys_is_told(run: Run, file: Path, tmp_path: Path, text: str) -> None:
    """A file of something else."""
    (tmp_path / "keys.json").write_text(text)
    result = run("receipt", "verify", file, "--keys", tmp_path / "keys.json")
    assert result.exit_code == 1
    assert "is no JWK set" in result.stderr
