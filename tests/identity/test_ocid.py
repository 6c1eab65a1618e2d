"""OCIDs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.identity.ocid import ENTROPY_BYTES, RESOURCES, format_ocid, is_ocid

ENTROPY = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


def test_it_has_the_form_of_an_ocid() -> None:
    """Resource, realm and sixty characters of lower-case base 32."""
    assert format_ocid("user", bytes(ENTROPY_BYTES)) == f"ocid1.user.oc1..{'a' * 60}"
    assert format_ocid("tenancy", b"\xff" * ENTROPY_BYTES) == f"ocid1.tenancy.oc1..{'7' * 60}"


@given(st.sampled_from(RESOURCES), ENTROPY)
def test_what_is_made_is_one_of_its_resource_only(resource: str, entropy: bytes) -> None:
    """An OCID tells its resource."""
    text = format_ocid(resource, entropy)
    assert [each for each in RESOURCES if is_ocid(text, each)] == [resource]


@given(st.lists(ENTROPY, unique_by=lambda entropy: bytes(byte % 32 for byte in entropy)))
def test_other_entropy_gives_another_ocid(entropies: list[bytes]) -> None:
    """Five bits of each byte show: three hundred in all."""
    assert len({format_ocid("user", each) for each in entropies}) == len(entropies)


@pytest.mark.parametrize(
    ("resource", "length"), [("bucket", ENTROPY_BYTES), ("", ENTROPY_BYTES), ("user", 37)]
)
def test_nothing_else_is_made(resource: str, length: int) -> None:
    """An unknown resource or too little entropy is a mistake of the caller's."""
    with pytest.raises(ValueError, match="no OCID"):
        format_ocid(resource, bytes(length))


GOOD = format_ocid("user", bytes(range(ENTROPY_BYTES)))


@pytest.mark.parametrize(
    "text",
    ["", GOOD[:-1], f"{GOOD}a", f"{GOOD}\n", f" {GOOD}", GOOD.upper(), f"{GOOD[:-1]}1", GOOD[1:]],
)
def test_anything_else_is_none(text: str) -> None:
    """Length, alphabet and case have to be right."""
    assert is_ocid(GOOD, "user")
    assert not is_ocid(text, "user")
