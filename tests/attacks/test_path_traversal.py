"""Ids that are paths: to other files, other tenancies, other operations."""

from __future__ import annotations

import pytest

from tests.attacks.forging import fresh_claims, header_of, own_key, signed
from tests.attacks.requests import send, sign
from tests.attacks.sockets import NOT_AUTHENTICATED, show_text
from tests.conftest import Served

IDS = [
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "../../../etc/passwd",
    "....//....//etc/passwd",
    "..%5c..%5cwindows%5cwin.ini",
    "%252e%252e%252fetc%252fpasswd",
    "%c0%ae%c0%ae%c0%afetc%c0%afpasswd",
    "..;/",
    "/etc/passwd",
    "//etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "keys%2ftoken.pem",
    "stapes.db",
    "oci%2fadministrator.pem",
    "%00",
    "a%00.json",
    "%0d%0ax:y",
    "~root",
    "*",
    "?",
    "-",
    "." * 300,
    "a" * 5000,
]


@pytest.mark.parametrize("suffix", ["", "/transcript", "/receipt"])
@pytest.mark.parametrize("id_", IDS, ids=lambda it: it[:30])
def test_path_traversal(served: Served, id_: str, suffix: str) -> None:
    """Rightly signed, it names no session: 404 as for any other, and no file is in the answer."""
    target = f"/20220101/realtimeSessions/{id_}{suffix}"
    reply = send(served, sign(served, b"", "GET", target), method="GET", target=target)
    assert reply.status in {401, 404} if "?" in id_ else reply.status == 404
    assert "root:" not in str(reply.body)


@pytest.mark.parametrize("id_", IDS, ids=lambda it: it[:30])
def test_path_traversal_without_a_prefix(served: Served, id_: str) -> None:
    """No file of the home is served from any path."""
    for target in (f"/{id_}", f"/ws/{id_}", f"/.well-known/{id_}", f"/20220101/{id_}"):
        reply = send(served, [("host", "x")], method="GET", target=target)
        assert reply.status == 404
        assert "BEGIN" not in str(reply.body)


@pytest.mark.usefixtures("_nothing_reached")
async def test_path_traversal_by_kid(served: Served) -> None:
    """The kid of a token is looked up among names in memory, never among files."""
    own = own_key(served)
    for kid in (f"../keys/{own.kid}", f"token-{own.kid}.pem", f"{own.kid}/.", f"{own.kid}\0"):
        forgery = signed(own, header_of(served, kid=kid), fresh_claims(served))
        assert await show_text(served, forgery) == NOT_AUTHENTICATED
