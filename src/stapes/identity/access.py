"""Who may do what where: nobody anything, but for what a policy statement allows."""

from __future__ import annotations

from collections.abc import Iterator

from stapes.errors import InvalidParameterError, NotAuthorizedOrNotFoundError
from stapes.identity.model import ApiKey, Directory, Policy, Verb
from stapes.identity.policy import Statement, parse_statement

_STRENGTH = {verb: rank for rank, verb in enumerate(Verb)}


def allowed(directory: Directory, user_id: str, verb: Verb, compartment_id: str) -> bool:
    """Whether a user may do this with speech in a compartment of their own tenancy.

    The tenancy's OCID stands for its root compartment. A statement on a compartment covers those
    below it; one that says ``in tenancy`` covers all.
    """
    user = directory.users.get(user_id)
    if user is None:
        return False
    path = _path(directory, user.tenancy_id, compartment_id)
    if path is None:
        return False
    groups = _group_names(directory, user.tenancy_id, user_id)
    return any(
        (statement.group is None or statement.group in groups)
        and _STRENGTH[statement.verb] >= _STRENGTH[verb]
        and path[: len(statement.path)] == statement.path
        for statement in _statements(directory, user.tenancy_id)
    )


def require(directory: Directory, user_id: str, verb: Verb, compartment_id: str) -> None:
    """Raise `NotAuthorizedOrNotFoundError` unless `allowed`."""
    if not allowed(directory, user_id, verb, compartment_id):
        raise NotAuthorizedOrNotFoundError(f"{user_id} may not {verb} in {compartment_id:.255}")


def find_api_key(
    directory: Directory, tenancy_id: str, user_id: str, fingerprint: str
) -> ApiKey | None:
    """The enabled API key of a user of that very tenancy; None when there is none."""
    user = directory.users.get(user_id)
    key = directory.api_keys.get((user_id, fingerprint))
    if user is None or user.tenancy_id != tenancy_id or key is None or not key.enabled:
        return None
    return key


def _path(directory: Directory, tenancy_id: str, compartment_id: str) -> tuple[str, ...] | None:
    """Names from below the root down to a compartment; None when it is not of the tenancy."""
    names: list[str] = []
    at = compartment_id
    while at != tenancy_id:
        compartment = directory.compartments.get(at)
        # No chain is longer than all compartments together: one that is goes in a circle.
        if (
            compartment is None
            or compartment.tenancy_id != tenancy_id
            or len(names) >= len(directory.compartments)
        ):
            return None
        names.append(compartment.name)
        at = compartment.parent_id
    return tuple(reversed(names))


def _group_names(directory: Directory, tenancy_id: str, user_id: str) -> frozenset[str]:
    return frozenset(
        group.name
        for group in directory.groups.values()
        if group.tenancy_id == tenancy_id and user_id in group.user_ids
    )


def _statements(directory: Directory, tenancy_id: str) -> Iterator[Statement]:
    for policy in directory.policies.values():
        if policy.tenancy_id == tenancy_id:
            yield from _parsed(policy)


def _parsed(policy: Policy) -> Iterator[Statement]:
    for text in policy.statements:
        try:
            yield parse_statement(text)
        except InvalidParameterError:
            # Statements are checked when they are written. One that slipped through grants
            # nothing and must not take the others with it.
            continue
