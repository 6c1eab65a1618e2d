"""The identities of a home, read and changed by one command at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.own_store import open_own
from stapes.cli.terminal import local_actor

if TYPE_CHECKING:
    from stapes.identity.change import Change
    from stapes.identity.model import Directory
    from stapes.server.home import Home
    from stapes.store.port import Store
    from stapes.store.records import Record

TenancyName = Annotated[
    str | None,
    typer.Option("--tenancy", help="The tenancy, by name or OCID.", show_default="the home's"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Even when nobody could manage the tenancy afterwards.")
]


@dataclass(frozen=True, slots=True)
class Register:
    """The identities as they are, and the store to write what becomes of them."""

    home: Home
    directory: Directory
    store: Store

    def tenancy_id(self, tenancy: str | None) -> str:
        """Of a tenancy by name or OCID, or the home's. Raises `UnknownIdentityError`."""
        from stapes.identity.naming import find_tenancy

        return find_tenancy(self.directory, tenancy or self.home.tenancy_id).id

    def write(self, change: Change, now: datetime, *, force: bool = False) -> None:
        """Write a change and its line in the audit log together.

        Raises `LastManagerError` when nobody could manage the tenancy afterwards, unless forced.
        """
        from stapes.identity.change import check_managed

        if not force:
            check_managed(self.directory, change)
        self.store.write(to_records(change, local_actor(), now))


@contextmanager
def open_register(home: Path | None) -> Iterator[Register]:
    """The register of a home, by one command at a time: what was read still holds when written."""
    with open_own(home, with_keys=False) as own, own.home.locked():
        yield Register(own.home, own.store.directory(), own.store)


def make_change(
    home: Path | None,
    tenancy: str | None,
    make: Callable[..., Change],
    *arguments: Any,
    force: bool = False,
    **options: Any,
) -> Change:
    """Make a change in a tenancy, by one of the functions of `stapes.identity`, and write it.

    Raises what it raises, and as `Register.write` does.
    """
    with open_register(home) as register:
        change = make(register.directory, register.tenancy_id(tenancy), *arguments, **options)
        register.write(change, datetime.now(UTC), force=force)
    return change


def to_records(change: Change, actor: str, now: datetime) -> list[Record]:
    """What a store is to write for a change, in one transaction."""
    from stapes.store.records import Audited, IdentityRemoved, Revoked

    records: list[Record] = [*change.written, *map(IdentityRemoved, change.removed)]
    if change.revoked_user_id is not None:
        records.append(Revoked(change.tenancy_id, "user", change.revoked_user_id, now))
    details = dict(change.details)
    told = Audited(now, actor, change.action, change.subject, change.tenancy_id, details)
    return [*records, told]


def new_ocid(resource: str) -> str:
    """An OCID that did not exist before."""
    from stapes.identity.ocid import ENTROPY_BYTES, format_ocid

    return format_ocid(resource, secrets.token_bytes(ENTROPY_BYTES))
