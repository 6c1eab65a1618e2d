"""``stapes revoke``: take tokens back, straight on the home's store."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.cli.own_store import Own, open_own
from stapes.cli.terminal import HomeFolder, local_actor
from stapes.errors import StoreError

if TYPE_CHECKING:
    from stapes.server.revoking import Order


def revoke(
    session_id: Annotated[
        str | None,
        typer.Argument(help="OCID of a session.", metavar="SESSION", show_default=False),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Take back all that this user holds: OCID or name.")
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option(help="Take back every session with this free-form tag.", metavar="KEY=VALUE"),
    ] = None,
    home: HomeFolder = None,
) -> None:
    """Take tokens back: no new socket is opened with them, and live ones are closed.

    Works while a server runs or not; one that runs heeds it within a second. What was heard before
    is kept.

    For example:

    - stapes revoke ocid1.aispeechrealtimesession.oc1..aaaa
    - stapes revoke --user backend
    - stapes revoke --tag room=4
    """
    if sum(given is not None for given in (session_id, user, tag)) != 1:
        raise typer.BadParameter("give a session, --user or --tag, and one of them alone")
    with open_own(home, with_keys=False) as own:
        order = _order(own)
        if session_id is not None:
            count = _revoke_session(own, session_id, order)
        elif user is not None:
            count = _revoke_user(own, user, order)
        else:
            count = _revoke_tag(own, tag or "", order)
    sessions = "1 session" if count == 1 else f"{count} sessions"
    typer.echo(f"Took back {sessions} that could still be used.")


def _order(own: Own) -> Order:
    from stapes.server.revoking import Order

    longest_session = timedelta(seconds=own.settings.longest_session_s)
    return Order(local_actor(), "", datetime.now(UTC), longest_session)


def _revoke_session(own: Own, session_id: str, order: Order) -> int:
    from stapes.server.revoking import revoke_session
    from stapes.store.port import SessionFilter

    found = own.store.sessions(SessionFilter(session_id=session_id), order.at, limit=1)
    if not found:
        raise StoreError(f"there is no session {session_id} in this home")
    return revoke_session(own.store, found[0], order)


def _revoke_user(own: Own, user: str, order: Order) -> int:
    from stapes.server.revoking import revoke_user
    from stapes.store.port import SessionFilter

    users = own.store.directory().users
    found = [it for it in users.values() if user in {it.id, it.name}]
    if len(found) > 1:
        raise StoreError(f"{len(found)} users have the name {user}; give the OCID of one")
    if found:
        return revoke_user(own.store, found[0].tenancy_id, found[0].id, order)
    # One who was removed may hold live sessions still.
    theirs = own.store.sessions(SessionFilter(user_id=user), order.at, limit=1)
    if not theirs:
        raise StoreError(f"there is no user {user} in this home")
    return revoke_user(own.store, theirs[0].tenancy_id, user, order)


def _revoke_tag(own: Own, tag: str, order: Order) -> int:
    from stapes.server.revoking import LOOK_AGAIN_S, revoke_tag

    key, found, value = tag.partition("=")
    if not (key and found):
        raise typer.BadParameter(f"--tag takes KEY=VALUE, not {tag!r}")
    count = revoke_tag(own.store, (key, value), None, order)
    time.sleep(LOOK_AGAIN_S)  # a running server writes the tokens it has just minted meanwhile
    return count + revoke_tag(own.store, (key, value), None, order, is_second_look=True)
