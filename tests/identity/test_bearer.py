"""Bearer keys as text."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.errors import BearerKeyError
from stapes.identity.access import find_bearer_key
from stapes.identity.bearer import ENTROPY_BYTES, make_bearer_key, parse_bearer_key
from stapes.identity.model import Directory, User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "abcdefghijklm234"
SECRET = "A_b-C" * 8 + "_9-"


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_a_made_key_is_found_by_its_text(entropy: bytes) -> None:
    """Whatever its secret looks like; only the secret's digest is kept."""
    key, text = make_bearer_key("ann", entropy)
    key_id, secret = parse_bearer_key(text)
    assert (key.id, len(key_id), len(secret)) == (key_id, 16, 43)
    assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    known = Directory(users={"ann": User("ann", "ann", "t")}, bearer_keys={key.id: key})
    assert find_bearer_key(known, key_id, secret, NOW) is key


def test_a_key_keeps_its_expiry_and_hides_its_digest() -> None:
    """Neither text nor digest is in what a log would print."""
    entropy = bytes(range(ENTROPY_BYTES))
    key, text = make_bearer_key("ann", entropy, NOW)
    assert key.expires_at == NOW
    assert key.sha256 not in repr(key)
    assert text == "stapes_aaaqeayeaudaocaj_CgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCk"


@pytest.mark.parametrize("size", [0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1])
def test_a_key_takes_all_its_random_bytes(size: int) -> None:
    """Neither fewer nor more."""
    with pytest.raises(ValueError, match="42 random bytes"):
        make_bearer_key("ann", bytes(islice(cycle([7]), size)))


def test_underscores_of_the_secret_belong_to_it() -> None:
    """The id has none, so the second one ends it."""
    assert parse_bearer_key(f"stapes_{ID}_{SECRET}") == (ID, SECRET)
    assert parse_bearer_key(f"stapes_{ID}_{'_' * 43}") == (ID, "_" * 43)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stapes",
        f"stapes_{ID}",
        f"stapes_{ID}_",
        f"{ID}_{SECRET}",
        f"Stapes_{ID}_{SECRET}",
        f"stapes_{ID.upper()}_{SECRET}",
        f"stapes_{ID[:-1]}_{SECRET}",
        f"stapes_{ID}a_{SECRET}",
        f"stapes_{ID[:-1]}1_{SECRET}",
        f"stapes_{ID}_{SECRET[:-1]}",
        f"stapes_{ID}_{SECRET}A",
        f"stapes_{ID}_{SECRET}=",
        f"stapes_{ID}_{SECRET}\n",
        f" stapes_{ID}_{SECRET}",
        f"stapes_{ID}_{SECRET[:-1]}+",
        f"stapes_{ID}_{SECRET[:-1]}\u0661",
        f"stapes_{ID}_{SECRET[:-1]}\ud800",
        f"stapes__{ID}_{SECRET}",
        f"stapes-{ID}-{SECRET}",
    ],
)
def test_any_other_text_is_refused_and_not_repeated(text: str) -> None:
    """The error may be logged: nothing of the text is in it."""
    with pytest.raises(BearerKeyError) as refused:
        parse_bearer_key(text)
    assert SECRET[:-1] not in str(refused.value)
