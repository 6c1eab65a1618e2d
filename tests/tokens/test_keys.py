"""Token-signing keys and their public form."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stapes.tokens.keys import SigningKey, jwk, jwks, parse_jwk, parse_jwks, thumbprint

# RFC 8037 appendices A.1 to A.3.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
PRIVATE = Ed25519PrivateKey.from_private_bytes(SECRET)


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """The example key has the thumbprint that its RFC gives."""
    assert thumbprint(PRIVATE.public_key()) == KID


def test_the_jwk_has_the_public_part_only() -> None:
    """A public JWK names key, use and algorithm, and nothing private."""
    assert jwk(PRIVATE.public_key()) == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": X,
        "kid": KID,
        "use": "sig",
        "alg": "EdDSA",
    }


def test_a_key_set_keeps_the_order() -> None:
    """All keys are listed, in their order."""
    second = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    first = PRIVATE.public_key()
    assert jwks([first, second]) == {"keys": [jwk(first), jwk(second)]}
    assert jwks([]) == {"keys": []}


def test_a_signing_key_is_named_by_its_thumbprint_and_hides_its_secret() -> None:
    """The kid is the thumbprint; printing the key shows no more than that."""
    key = SigningKey.of(PRIVATE)
    assert key.kid == KID
    assert repr(key) == f"SigningKey(kid={KID!r})"


def test_a_jwk_reads_back() -> None:
    """A JWK made here gives the key again."""
    public_key = PRIVATE.public_key()
    assert parse_jwk(jwk(public_key)).public_bytes_raw() == public_key.public_bytes_raw()


@pytest.mark.parametrize(
    "change",
    [{"x": "AAAA"}, {"x": "?"}, {"x": X[:-1] + "p"}, {"kid": "other"}, {"kty": "RSA"}, {"d": "x"}],
    ids=str,
)
def test_another_jwk_is_no_signing_key(change: dict[str, str]) -> None:
    """A JWK that is not exactly of the form is refused."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_jwk(jwk(PRIVATE.public_key()) | change)


def test_a_key_set_reads_back_without_keys_of_other_kinds() -> None:
    """RFC 7517 section 5: what is not understood is passed over."""
    members = [{"kty": "RSA", "kid": "r"}, 7, {}, {"kid": []}, jwk(PRIVATE.public_key())]
    assert list(parse_jwks({"keys": members})) == [KID]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": []}, {"keys": [{}]}])
def test_what_has_no_key_of_ours_is_no_key_set(document: object) -> None:
    """Of whatever form."""
    with pytest.raises(ValueError, match="it has no"):
        parse_jwks(document)
