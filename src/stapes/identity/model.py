"""Who exists: tenancy, compartments, users, groups, API keys and policy statements.

One `Directory` is a snapshot of them all, built by the store and asked without a database read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Group:
    """Users that policies speak of together."""

    id: str
    name: str
    tenancy_id: str
    user_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy statements of a tenancy, in OCI's words."""

    id: str
    name: str
    tenancy_id: str
    statements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Directory:
    """A snapshot of everyone and everything that requests are checked against, by OCID.

    API keys are by their user's OCID and their fingerprint.
    """

    tenancies: dict[str, Tenancy] = field(default_factory=dict)
    compartments: dict[str, Compartment] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    api_keys: dict[tuple[str, str], ApiKey] = field(default_factory=dict)
