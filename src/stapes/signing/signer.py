"""Sign requests and websocket credentials, as our own client does.

Source: OCI request signatures v1.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from stapes.signing.authorization import ALGORITHM, VERSION, KeyId
from stapes.signing.canonical import (
    digest,
    format_date,
    required_names,
    signing_string,
    split_uri,
)


def sign_request(  # noqa: PLR0917
    method: str,
    target: str,
    host: str,
    headers: Mapping[str, str],
    body: bytes,
    key_id: KeyId,
    private_key: RSAPrivateKey,
    now: datetime,
) -> dict[str, str]:
    """The headers to send: the given ones, those that have to be signed, and the signature.

    ``target`` is path and query exactly as they will be sent, ``host`` the value of that header.
    A body without a content-type is JSON. Names come back lower-cased.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    fields |= {"date": format_date(now), "host": host}
    names = ("date", *required_names(method))
    if "x-content-sha256" in names:
        fields |= {"content-length": str(len(body)), "x-content-sha256": digest(body)}
        fields.setdefault("content-type", "application/json")
    text = signing_string(names, method, target, fields)
    return fields | {"authorization": _authorization(names, text, key_id, private_key)}


def sign_credentials(
    uri: str, key_id: KeyId, private_key: RSAPrivateKey, now: datetime
) -> dict[str, str]:
    """The ``headers`` of a websocket CREDENTIALS message for the socket at ``uri``.

    Raises `stapes.errors.SignatureTargetError` when ``uri`` is not absolute.
    """
    host, target = split_uri(uri)
    return sign_request("GET", target, host, {}, b"", key_id, private_key, now) | {"uri": uri}


def _authorization(
    names: tuple[str, ...], text: bytes, key_id: KeyId, private_key: RSAPrivateKey
) -> str:
    signature = base64.b64encode(private_key.sign(text, PKCS1v15(), SHA256())).decode("ascii")
    return (
        f'Signature version="{VERSION}",keyId="{key_id}",algorithm="{ALGORITHM}",'
        f'headers="{" ".join(names)}",signature="{signature}"'
    )
