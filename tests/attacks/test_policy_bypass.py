"""Changing what policies speak of, to be let in where they do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from stapes import RealtimeSessionToken
from stapes.cli.iam.register import new_ocid
from stapes.errors import IdentityInUseError
from stapes.identity.changes import (
    add_compartment,
    add_group,
    add_member,
    add_user,
    move_compartment,
    remove_compartment,
    remove_group,
    remove_member,
    remove_policy,
    remove_user,
    rename_compartment,
)
from stapes.store.port import Store
from tests.attacks.people import Someone, ask, change, minted_by, someone
from tests.attacks.sockets import NOT_AUTHENTICATED, NOT_FOUND, OPENED, show, untouched
from tests.conftest import Served
from tests.waiting import wait_until

Write = Callable[..., None]


@pytest.fixture
def write(served: Served, store: Store) -> Write:
    """Make a change in the tenancy, as another process does, and wait until the server knows."""

    def write(make: object, *arguments: object) -> None:
        change(store, make, served.home.tenancy_id, *arguments)  # type: ignore[arg-type]
        expected = store.versions().identities
        wait_until(lambda: served.deployment.known.versions.identities >= expected)

    return write


def status(served: Served, who: Someone, compartment_id: str) -> int:
    return ask(served.url, who, compartment_id).status_code


async def test_compartment_renamed(
    served: Served, store: Store, stranger: Someone, write: Write
) -> None:
    """Giving another compartment the name that a statement has gains nothing, and loses nothing."""
    victim = someone(served.home, store)
    minted_by(served.url, victim)
    mine, theirs = stranger.compartment, victim.compartment
    write(rename_compartment, mine.name, f"{mine.name}-old")
    write(rename_compartment, theirs.name, mine.name)
    assert status(served, stranger, theirs.id) == 404
    assert status(served, stranger, mine.id) == 200
    assert status(served, victim, theirs.id) == 200


async def test_compartment_moved(
    served: Served, store: Store, stranger: Someone, write: Write
) -> None:
    """Under another, a compartment is covered by that one's statements; moved out, by none."""
    victim = someone(served.home, store)
    token = minted_by(served.url, victim)
    place = victim.compartment.name
    assert status(served, stranger, victim.compartment.id) == 404
    write(move_compartment, place, stranger.compartment.name)
    answer = ask(served.url, stranger, victim.compartment.id)
    token_there = RealtimeSessionToken.model_validate_json(answer.content)
    write(move_compartment, f"{stranger.compartment.name}:{place}", None)
    assert status(served, stranger, victim.compartment.id) == 404
    with untouched(served):
        assert await show(served, token_there) == NOT_FOUND
    assert await show(served, token) == OPENED


async def test_compartment_made_again(
    served: Served, store: Store, stranger: Someone, write: Write
) -> None:
    """One that a statement speaks of cannot be removed; another of its name is another."""
    with pytest.raises(IdentityInUseError):
        change(store, remove_compartment, served.home.tenancy_id, stranger.compartment.name)
    victim = someone(served.home, store)
    minted_by(served.url, victim)
    again = new_ocid("compartment")
    write(add_compartment, f"{victim.compartment.name}:{stranger.compartment.name}", again)
    assert status(served, stranger, again) == 404
    assert status(served, victim, again) == 200


async def test_group_made_again(
    served: Served, store: Store, stranger: Someone, write: Write
) -> None:
    """A statement spoke of the group that was, and a new one of its name inherits nothing."""
    token = minted_by(served.url, stranger)
    name, tenancy_id = stranger.group.name, served.home.tenancy_id
    with pytest.raises(IdentityInUseError):
        change(store, remove_group, tenancy_id, name)
    write(remove_policy, stranger.policy.name)
    write(remove_group, name)
    assert status(served, stranger, stranger.compartment.id) == 404
    write(add_group, name, new_ocid("group"))
    write(add_member, name, stranger.user.name)
    assert status(served, stranger, stranger.compartment.id) == 404
    with untouched(served):
        assert await show(served, token) == NOT_FOUND


async def test_group_left(served: Served, stranger: Someone, write: Write) -> None:
    """Who is out of the group neither mints nor opens what was minted before."""
    token = minted_by(served.url, stranger)
    write(remove_member, stranger.group.name, stranger.user.name)
    assert status(served, stranger, stranger.compartment.id) == 404
    with untouched(served):
        assert await show(served, token) == NOT_FOUND
    write(add_member, stranger.group.name, stranger.user.name)
    assert await show(served, token) == OPENED


async def test_user_made_again(served: Served, stranger: Someone, write: Write) -> None:
    """Another user of the same name has neither the keys nor the groups nor the tokens."""
    token = minted_by(served.url, stranger)
    write(remove_user, stranger.user.name)
    assert status(served, stranger, stranger.compartment.id) == 401
    write(add_user, stranger.user.name, new_ocid("user"))
    assert status(served, stranger, stranger.compartment.id) == 401
    with untouched(served):
        assert await show(served, token) == NOT_AUTHENTICATED


def test_retry_after_the_policy_is_gone(served: Served, stranger: Someone, write: Write) -> None:
    """An answer that is remembered is given again to those alone who may still have it."""
    again = partial(ask, served.url, stranger, retry_token="policy-bypass")
    first = again()
    assert again().content == first.content
    write(remove_policy, stranger.policy.name)
    assert again().status_code == 404
