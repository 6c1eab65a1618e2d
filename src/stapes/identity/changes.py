"""The changes of tenancies, compartments, users, groups and policies, each with its rules.

Every function takes a snapshot and says what to write; nothing is left dangling. Things are named
by name or OCID, compartments by path (``a:b``) or OCID; new OCIDs are arguments. What each raises
is named where it says what it does, out of `stapes.errors`. Keys are changed in
`stapes.identity.key_changes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stapes.errors import CircularMoveError, IdentityInUseError, UnknownIdentityError
from stapes.identity.change import Change
from stapes.identity.model import Compartment, Directory, Group, Policy, Tenancy, User
from stapes.identity.naming import (
    SEPARATOR,
    chain,
    check_free,
    check_name,
    children,
    find_compartment,
    find_group,
    find_place,
    find_policy,
    find_tenancy,
    find_user,
    path_of,
)
from stapes.identity.policy import bind

MOST_LISTED = 5


def add_tenancy(directory: Directory, name: str, new_id: str) -> Change:
    """Add a tenancy, empty. Raises `NameRefusedError`, `NameTakenError`."""
    check_name(name)
    check_free(name, directory.tenancies.values(), "this home")
    made = Tenancy(new_id, name)
    return Change("tenancy.added", made.id, made.id, (made,), details={"name": name})


def remove_tenancy(directory: Directory, tenancy: str) -> Change:
    """Remove an empty tenancy. Raises `UnknownIdentityError`, `IdentityInUseError`."""
    gone = find_tenancy(directory, tenancy)
    kinds = (directory.policies, directory.groups, directory.users, directory.compartments)
    for kind in kinds:
        inside = [it for it in kind.values() if it.tenancy_id == gone.id]
        if inside:
            raise IdentityInUseError(
                f"tenancy {gone.name} is not empty; remove {_listed(directory, inside)} first"
            )
    details = {"name": gone.name}
    return Change("tenancy.removed", gone.id, gone.id, removed=(gone,), details=details)


def add_compartment(directory: Directory, tenancy_id: str, path: str, new_id: str) -> Change:
    """Add a compartment at the end of a path whose other parts exist.

    Raises `UnknownIdentityError`, `NameRefusedError`, `NameTakenError`.
    """
    above, nested, name = path.rpartition(SEPARATOR)
    parent_id = find_place(directory, tenancy_id, above) if nested else tenancy_id
    made = Compartment(new_id, name, parent_id, tenancy_id)
    _check_place(directory, made)
    details = {"path": SEPARATOR.join([*filter(None, [path_of(directory, parent_id)]), name])}
    return Change("compartment.added", made.id, tenancy_id, (made,), details=details)


def rename_compartment(directory: Directory, tenancy_id: str, path: str, name: str) -> Change:
    """Give a compartment another name in the same place; policies go on speaking of it.

    Raises `UnknownIdentityError`, `NameRefusedError`, `NameTakenError`.
    """
    old = find_compartment(directory, tenancy_id, path)
    new = replace(old, name=name)
    _check_place(directory, new)
    details = {"path": path_of(directory, old.id), "name": name}
    return Change("compartment.renamed", old.id, tenancy_id, (new,), details=details)


def move_compartment(
    directory: Directory, tenancy_id: str, path: str, parent: str | None
) -> Change:
    """Move a compartment, with all below it, under ``parent``; None is the root.

    Statements on what is above the new place cover it from now on, and those on what was above the
    old one do not. Raises `UnknownIdentityError`, `NameTakenError`, `CircularMoveError`.
    """
    old = find_compartment(directory, tenancy_id, path)
    parent_id = find_place(directory, tenancy_id, parent) if parent else tenancy_id
    if old in chain(directory, parent_id):
        raise CircularMoveError(f"compartment {path} cannot be moved under itself")
    new = replace(old, parent_id=parent_id)
    _check_place(directory, new)
    was, to = path_of(directory, old.id), path_of(directory, parent_id)
    details = {"path": was, "parent": to}
    return Change("compartment.moved", old.id, tenancy_id, (new,), details=details)


def remove_compartment(directory: Directory, tenancy_id: str, path: str) -> Change:
    """Remove a compartment that is empty and that no policy speaks of.

    Raises `UnknownIdentityError`, `IdentityInUseError`.
    """
    gone = find_compartment(directory, tenancy_id, path)
    below = children(directory, tenancy_id, gone.id)
    users = [
        it
        for it in directory.policies.values()
        if any(binding.compartment_id == gone.id for binding in it.bindings)
    ]
    for inside in (below, users):
        if inside:
            raise IdentityInUseError(
                f"compartment {path} is in use; remove {_listed(directory, inside)} first"
            )
    details = {"path": path_of(directory, gone.id)}
    return Change("compartment.removed", gone.id, tenancy_id, removed=(gone,), details=details)


def add_user(directory: Directory, tenancy_id: str, name: str, new_id: str) -> Change:
    """Add a user, without keys and groups. Raises `NameRefusedError`, `NameTakenError`."""
    check_name(name)
    check_free(name, _of(directory.users, tenancy_id), "this tenancy")
    made = User(new_id, name, tenancy_id)
    return Change("user.added", made.id, tenancy_id, (made,), details={"name": name})


def remove_user(directory: Directory, tenancy_id: str, user: str) -> Change:
    """Remove a user, all keys, memberships and tokens with it. Raises `UnknownIdentityError`."""
    gone = find_user(directory, tenancy_id, user)
    left = tuple(
        replace(group, user_ids=group.user_ids - {gone.id})
        for group in directory.groups.values()
        if gone.id in group.user_ids
    )
    return Change(
        "user.removed",
        gone.id,
        tenancy_id,
        left,
        (gone,),
        revoked_user_id=gone.id,
        details={"name": gone.name, "groups": sorted(group.name for group in left)},
    )


def add_group(directory: Directory, tenancy_id: str, name: str, new_id: str) -> Change:
    """Add a group of nobody. Raises `NameRefusedError`, `NameTakenError`."""
    check_name(name)
    check_free(name, _of(directory.groups, tenancy_id), "this tenancy")
    made = Group(new_id, name, tenancy_id)
    return Change("group.added", made.id, tenancy_id, (made,), details={"name": name})


def remove_group(directory: Directory, tenancy_id: str, group: str) -> Change:
    """Remove a group that no policy speaks of.

    Raises `UnknownIdentityError`, `IdentityInUseError`.
    """
    gone = find_group(directory, tenancy_id, group)
    speaking = [
        it
        for it in directory.policies.values()
        if any(binding.group_id == gone.id for binding in it.bindings)
    ]
    if speaking:
        raise IdentityInUseError(
            f"group {gone.name} is in use; remove {_listed(directory, speaking)} first"
        )
    details = {"name": gone.name}
    return Change("group.removed", gone.id, tenancy_id, removed=(gone,), details=details)


def add_member(directory: Directory, tenancy_id: str, group: str, user: str) -> Change:
    """Let a user join a group of the same tenancy. Raises `UnknownIdentityError`."""
    joined, member = _pair(directory, tenancy_id, group, user)
    new = replace(joined, user_ids=joined.user_ids | {member.id})
    details = {"group": new.name, "user": member.name, "userId": member.id}
    return Change("membership.added", new.id, tenancy_id, (new,), details=details)


def remove_member(directory: Directory, tenancy_id: str, group: str, user: str) -> Change:
    """Take a user out of a group. Raises `UnknownIdentityError`, also for one who is not in it."""
    left, member = _pair(directory, tenancy_id, group, user)
    if member.id not in left.user_ids:
        raise UnknownIdentityError(f"user {member.name} is not in group {left.name}")
    new = replace(left, user_ids=left.user_ids - {member.id})
    details = {"group": new.name, "user": member.name, "userId": member.id}
    return Change("membership.removed", new.id, tenancy_id, (new,), details=details)


def add_policy(
    directory: Directory, tenancy_id: str, name: str, statements: Sequence[str], new_id: str
) -> Change:
    """Add statements under a name, bound to what they speak of now.

    Raises `NameRefusedError`, `NameTakenError`; `InvalidParameterError` naming a statement that
    does not parse, or what it names and does not exist.
    """
    check_name(name)
    check_free(name, _of(directory.policies, tenancy_id), "this tenancy")
    texts = tuple(text.strip() for text in statements)
    made = Policy(new_id, name, tenancy_id, texts, bind(directory, tenancy_id, texts))
    details = {"name": name, "statements": list(texts)}
    return Change("policy.added", made.id, tenancy_id, (made,), details=details)


def remove_policy(directory: Directory, tenancy_id: str, policy: str) -> Change:
    """Remove a policy and all it allows. Raises `UnknownIdentityError`."""
    gone = find_policy(directory, tenancy_id, policy)
    details = {"name": gone.name, "statements": list(gone.statements)}
    return Change("policy.removed", gone.id, tenancy_id, removed=(gone,), details=details)


def _check_place(directory: Directory, made: Compartment) -> None:
    check_name(made.name, is_compartment=True)
    siblings = children(directory, made.tenancy_id, made.parent_id)
    check_free(made.name, [it for it in siblings if it.id != made.id], "that place")


def _pair(directory: Directory, tenancy_id: str, group: str, user: str) -> tuple[Group, User]:
    found = find_group(directory, tenancy_id, group)
    return found, find_user(directory, tenancy_id, user)


def _of(kept: Mapping[str, Any], tenancy_id: str) -> list[Any]:
    return [it for it in kept.values() if it.tenancy_id == tenancy_id]


def _listed(directory: Directory, identities: Sequence[Any]) -> str:
    """``policy a, policy b``; of many, the first few. Compartments by their paths."""
    first = [
        f"{type(it).__name__.lower()} {path_of(directory, it.id) or it.name}"
        for it in identities[:MOST_LISTED]
    ]
    more = len(identities) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
