"""One change of identities: what it writes, what the audit log says of it, what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from stapes.errors import LastManagerError
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Binding,
    Compartment,
    Directory,
    Group,
    Identity,
    Policy,
    Tenancy,
    User,
    Verb,
)

PLACES: dict[type[Any], str] = {
    Tenancy: "tenancies",
    Compartment: "compartments",
    User: "users",
    Group: "groups",
    Policy: "policies",
    ApiKey: "api_keys",
    BearerKey: "bearer_keys",
}
"""Which dictionary of a `Directory` holds what."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one change writes, in one transaction, and how the audit log tells of it.

    Attributes:
        action: two words for the log: ``user.added``.
        subject: the OCID of what changed, or a key's fingerprint or id.
        written: to be put in place of what has the same key.
        removed: to be taken away, after what is written; a user's keys go with the user.
        revoked_user_id: the user whose tokens die with it.
    """

    action: str
    subject: str
    tenancy_id: str
    written: tuple[Identity, ...] = ()
    removed: tuple[Identity, ...] = ()
    revoked_user_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def apply(directory: Directory, change: Change) -> Directory:
    """The snapshot as it is after the change."""
    kept = {it.name: dict(getattr(directory, it.name)) for it in fields(directory)}
    for identity in change.written:
        kept[PLACES[type(identity)]][key_of(identity)] = identity
    for identity in change.removed:
        del kept[PLACES[type(identity)]][key_of(identity)]
        if isinstance(identity, User):
            for name in ("api_keys", "bearer_keys"):
                kept[name] = {k: it for k, it in kept[name].items() if it.user_id != identity.id}
    return Directory(**kept)


def check_managed(directory: Directory, change: Change) -> None:
    """Raise `LastManagerError` when the change leaves a tenancy that had a manager with none.

    A manager is a user whom some statement allows to ``manage``, anywhere in the tenancy.
    """
    tenancy = directory.tenancies.get(change.tenancy_id)
    if tenancy is None or not _is_managed(directory, tenancy.id):
        return
    if not _is_managed(apply(directory, change), tenancy.id):
        raise LastManagerError(
            f"nobody could manage tenancy {tenancy.name} after this; --force does it all the same"
        )


def key_of(identity: Identity) -> str | tuple[str, str]:
    """What an identity is found by in its dictionary of a `Directory`."""
    if isinstance(identity, ApiKey):
        return identity.user_id, identity.fingerprint
    return identity.id


def _is_managed(directory: Directory, tenancy_id: str) -> bool:
    users = frozenset(it.id for it in directory.users.values() if it.tenancy_id == tenancy_id)

    def reaches_anybody(binding: Binding) -> bool:
        group = directory.groups.get(binding.group_id or "")
        members = group.user_ids if group else frozenset[str]()
        return bool(users if binding.group_id is None else users & members)

    bindings = directory.bindings_of.get(tenancy_id, ())
    return any(it.verb is Verb.MANAGE and reaches_anybody(it) for it in bindings)
