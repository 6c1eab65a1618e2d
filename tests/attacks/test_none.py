"""A token that says it needs no signature."""

from __future__ import annotations

import pytest

from stapes import RealtimeSessionToken
from tests.attacks.forging import claims_of, encode, encode_json, header_of
from tests.attacks.sockets import NOT_AUTHENTICATED, show_text
from tests.conftest import Served


@pytest.mark.usefixtures("_nothing_reached")
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("signature", ["", encode(bytes(64)), "own"], ids=["no", "zeros", "own"])
async def test_none(
    served: Served, token: RealtimeSessionToken, algorithm: str | None, signature: str
) -> None:
    """In whatever case, without a signature, with one of zeros, and with the good one."""
    header = encode_json(header_of(served, alg=algorithm))
    last = token.token.rpartition(".")[2] if signature == "own" else signature
    forgery = f"{header}.{encode_json(claims_of(token.token))}.{last}"
    assert await show_text(served, forgery) == NOT_AUTHENTICATED
