"""Who exists: tenancy, compartments, users, groups, API keys and policy statements.

One `Directory` is a snapshot of them all, built by the store and asked without a database read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property


class Verb(StrEnum):
    """What a policy statement allows, weakest first; each includes the ones before it."""

    INSPECT = "inspect"
    READ = "read"
    USE = "use"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Tenancy:
    """The account; its OCID is also that of its root compartment."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Compartment:
    """A compartment below the root; ``parent_id`` is a compartment's or the tenancy's OCID."""

    id: str
    name: str
    parent_id: str
    tenancy_id: str


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may hold API keys."""

    id: str
    name: str
    tenancy_id: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A public RSA key of a user. ``fingerprint`` is its colon-separated MD5, as OCI shows it."""

    user_id: str
    fingerprint: str
    public_pem: str
    enabled: bool = True
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BearerKey:
    """A secret of a user, for ``Authorization: Bearer``. Only its SHA-256, in hex, is known."""

    id: str
    user_id: str
    sha256: str = field(repr=False)
    enabled: bool = True
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Users that policies speak of together."""

    id: str
    name: str
    tenancy_id: str
    user_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Binding:
    """What one statement allows, by OCID: a rename or move changes nothing of whom it speaks.

    ``group_id`` None is any user of the tenancy; the tenancy's OCID as ``compartment_id`` is all
    of it.
    """

    group_id: str | None
    verb: Verb
    compartment_id: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy statements of a tenancy in OCI's words, and what each was bound to when written."""

    id: str
    name: str
    tenancy_id: str
    statements: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()


Identity = Tenancy | Compartment | User | Group | Policy | ApiKey | BearerKey


@dataclass(frozen=True)
class Directory:
    """A snapshot of everyone and everything that requests are checked against, by OCID.

    API keys are by their user's OCID and their fingerprint, bearer keys by their id. The
    dictionaries are not changed once the snapshot is made: what is computed from them stays.
    """

    tenancies: dict[str, Tenancy] = field(default_factory=dict)
    compartments: dict[str, Compartment] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    api_keys: dict[tuple[str, str], ApiKey] = field(default_factory=dict)
    bearer_keys: dict[str, BearerKey] = field(default_factory=dict)

    @cached_property
    def groups_of(self) -> dict[str, frozenset[tuple[str, str]]]:
        """The groups of each user, as (tenancy, group)."""
        found: dict[str, set[tuple[str, str]]] = {}
        for group in self.groups.values():
            for user_id in group.user_ids:
                found.setdefault(user_id, set()).add((group.tenancy_id, group.id))
        return {user_id: frozenset(groups) for user_id, groups in found.items()}

    @cached_property
    def bindings_of(self) -> dict[str, tuple[Binding, ...]]:
        """All bindings of each tenancy."""
        found: dict[str, list[Binding]] = {}
        for policy in self.policies.values():
            found.setdefault(policy.tenancy_id, []).extend(policy.bindings)
        return {tenancy_id: tuple(bindings) for tenancy_id, bindings in found.items()}
