"""How things are named: what a name may be, and what a name or an OCID stands for.

Names are told apart by their case when they are looked up, as policy statements do, but no two
siblings differ by case alone.

Source: OCI documentation, naming of users, groups and compartments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from stapes.errors import NameRefusedError, NameTakenError, UnknownIdentityError
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Compartment,
    Directory,
    Group,
    Policy,
    Tenancy,
    User,
)

LONGEST_NAME = 100
SEPARATOR = ":"
# All that policy statements can spell without quotes; the first character makes an option of none.
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.@+-]{{0,{LONGEST_NAME - 1}}}")
_COMPARTMENT = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")
_OCID = "ocid1."


class Named(Protocol):
    """A tenancy, compartment, user, group or policy."""

    @property
    def id(self) -> str:
        """The OCID."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...


AnyNamed = TypeVar("AnyNamed", bound=Named)


def check_name(name: str, *, is_compartment: bool = False) -> None:
    """Raise `NameRefusedError` unless a statement could spell ``name`` and it is no OCID."""
    allowed = _COMPARTMENT if is_compartment else _NAME
    if not allowed.fullmatch(name) or name.lower().startswith(_OCID):
        marks = "_ . -" if is_compartment else "_ . @ + -"
        raise NameRefusedError(
            f"the name {name!a:.120} must be 1 to {LONGEST_NAME} letters, digits and {marks}, "
            f"begin with a letter or digit, and not with {_OCID}"
        )


def check_free(name: str, siblings: Iterable[Named], where: str) -> None:
    """Raise `NameTakenError` when a sibling has the name, in whatever case."""
    for sibling in siblings:
        if sibling.name.lower() == name.lower():
            raise NameTakenError(f"there is a {_kind(sibling)} {sibling.name} in {where} already")


def find_tenancy(directory: Directory, text: str) -> Tenancy:
    """The tenancy of that name or OCID. Raises `UnknownIdentityError`."""
    return _find(directory.tenancies, directory.tenancies.values(), text, "tenancy")


def find_user(directory: Directory, tenancy_id: str, text: str) -> User:
    """The user of that name or OCID in the tenancy. Raises `UnknownIdentityError`."""
    ours = [it for it in directory.users.values() if it.tenancy_id == tenancy_id]
    return _find({it.id: it for it in ours}, ours, text, "user")


def find_group(directory: Directory, tenancy_id: str, text: str) -> Group:
    """The group of that name or OCID in the tenancy. Raises `UnknownIdentityError`."""
    ours = [it for it in directory.groups.values() if it.tenancy_id == tenancy_id]
    return _find({it.id: it for it in ours}, ours, text, "group")


def find_policy(directory: Directory, tenancy_id: str, text: str) -> Policy:
    """The policy of that name or OCID in the tenancy. Raises `UnknownIdentityError`."""
    ours = [it for it in directory.policies.values() if it.tenancy_id == tenancy_id]
    return _find({it.id: it for it in ours}, ours, text, "policy")


def find_compartment(directory: Directory, tenancy_id: str, text: str) -> Compartment:
    """The compartment of that path (``a:b``, from the root down) or OCID, in the tenancy.

    Raises `UnknownIdentityError`; the root is no compartment here.
    """
    found = directory.compartments.get(find_place(directory, tenancy_id, text))
    if found is None:
        raise UnknownIdentityError("that is the tenancy's root, which is no compartment of its own")
    return found


def find_place(directory: Directory, tenancy_id: str, text: str) -> str:
    """The OCID of the compartment of that path or OCID; the tenancy's stands for the root.

    The first part of a path may be an OCID too. Raises `UnknownIdentityError`.
    """
    first, *rest = text.split(SEPARATOR)
    at = first if _is_place(directory, tenancy_id, first) else None
    for name in rest if at else [first, *rest]:
        below = children(directory, tenancy_id, at or tenancy_id)
        at = _find({}, below, name, f"compartment {text!a:.300}: nothing is called").id
    return at or tenancy_id


def find_key(directory: Directory, user: User, text: str) -> ApiKey | BearerKey:
    """The user's key of that fingerprint or id. Raises `UnknownIdentityError`."""
    key = directory.api_keys.get((user.id, text)) or directory.bearer_keys.get(text)
    if key is None or key.user_id != user.id:
        raise UnknownIdentityError(f"user {user.name} has no key {text!a:.120}")
    return key


def children(directory: Directory, tenancy_id: str, place: str) -> list[Compartment]:
    """The compartments right below a compartment or the root."""
    every = directory.compartments.values()
    return [it for it in every if (it.tenancy_id, it.parent_id) == (tenancy_id, place)]


def chain(directory: Directory, place: str) -> list[Compartment]:
    """A compartment and all above it, without the root; of a circle, one round at most."""
    above: list[Compartment] = []
    while (at := directory.compartments.get(place)) and len(above) < len(directory.compartments):
        above.append(at)
        place = at.parent_id
    return above


def path_of(directory: Directory, place: str) -> str:
    """The names from the root down to a compartment, as ``a:b``; empty for the root."""
    return SEPARATOR.join(it.name for it in reversed(chain(directory, place)))


def _is_place(directory: Directory, tenancy_id: str, text: str) -> bool:
    compartment = directory.compartments.get(text)
    return text == tenancy_id or (compartment is not None and compartment.tenancy_id == tenancy_id)


def _find(
    by_id: Mapping[str, AnyNamed], candidates: Iterable[AnyNamed], text: str, kind: str
) -> AnyNamed:
    if text in by_id:
        return by_id[text]
    for candidate in candidates:
        if candidate.name == text:
            return candidate
    raise UnknownIdentityError(f"there is no {kind} {text!a:.120}")


def _kind(identity: Named) -> str:
    return type(identity).__name__.lower()
