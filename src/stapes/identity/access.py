"""Who may do what where: nobody anything, but for what a policy statement allows."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from stapes.errors import NotAuthorizedOrNotFoundError
from stapes.identity.model import ApiKey, BearerKey, Directory, Verb

_STRENGTH = {verb: rank for rank, verb in enumerate(Verb)}
_NOBODYS = hashlib.sha256(b"").hexdigest()


def allowed(directory: Directory, user_id: str, verb: Verb, compartment_id: str) -> bool:
    """Whether a user may do this with speech in a compartment of their own tenancy.

    The tenancy's OCID stands for its root compartment. A statement on a compartment covers those
    below it; one that says ``in tenancy`` covers all.
    """
    user = directory.users.get(user_id)
    if user is None:
        return False
    covering = _covering(directory, user.tenancy_id, compartment_id)
    groups = directory.groups_of.get(user_id, frozenset())
    for binding in directory.bindings_of.get(user.tenancy_id, ()):
        if (
            binding.compartment_id in covering
            and _STRENGTH[binding.verb] >= _STRENGTH[verb]
            and (binding.group_id is None or (user.tenancy_id, binding.group_id) in groups)
        ):
            return True
    return False


def require(directory: Directory, user_id: str, verb: Verb, compartment_id: str) -> None:
    """Raise `NotAuthorizedOrNotFoundError` unless `allowed`."""
    if not allowed(directory, user_id, verb, compartment_id):
        raise NotAuthorizedOrNotFoundError(f"{user_id} may not {verb} in {compartment_id:.255}")


def compartments_for(directory: Directory, user_id: str, verb: Verb) -> frozenset[str]:
    """Every compartment, the root among them, in which a user may do this."""
    user = directory.users.get(user_id)
    if user is None:
        return frozenset()
    places = [user.tenancy_id]
    places += [it.id for it in directory.compartments.values() if it.tenancy_id == user.tenancy_id]
    return frozenset(place for place in places if allowed(directory, user_id, verb, place))


def find_api_key(
    directory: Directory, tenancy_id: str, user_id: str, fingerprint: str, now: datetime
) -> ApiKey | None:
    """The key that may sign now, of a user of that very tenancy; None when there is none."""
    user = directory.users.get(user_id)
    key = directory.api_keys.get((user_id, fingerprint))
    if user is None or user.tenancy_id != tenancy_id or key is None or not _is_good(key, now):
        return None
    return key


def find_bearer_key(
    directory: Directory, key_id: str, secret: str, now: datetime
) -> BearerKey | None:
    """The key of that id, when the secret is its own and it may be used now.

    The secrets' digests are compared in constant time, and a digest is compared for an id that
    does not exist too.
    """
    key = directory.bearer_keys.get(key_id)
    given = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    is_own = hmac.compare_digest(given, key.sha256 if key else _NOBODYS)
    if key is None or not is_own or key.user_id not in directory.users or not _is_good(key, now):
        return None
    return key


def _is_good(key: ApiKey | BearerKey, now: datetime) -> bool:
    return key.enabled and (key.expires_at is None or now < key.expires_at)


def _covering(directory: Directory, tenancy_id: str, compartment_id: str) -> list[str]:
    """A compartment and all above it to the root; nothing when it is not of the tenancy."""
    chain: list[str] = []
    at = compartment_id
    while at != tenancy_id:
        compartment = directory.compartments.get(at)
        # No chain is longer than all compartments together: one that is goes in a circle.
        if (
            compartment is None
            or compartment.tenancy_id != tenancy_id
            or len(chain) >= len(directory.compartments)
        ):
            return []
        chain.append(at)
        at = compartment.parent_id
    return [*chain, tenancy_id]
