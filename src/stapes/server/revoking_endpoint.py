"""Taking tokens back over REST: of a session, of a user, by a free-form tag.

Who may: ``manage`` in the session's compartment; for a user, ``manage`` in the whole tenancy, since
their tokens may be of any compartment; by tag, in those compartments that the caller manages.
All three can be asked again: what was taken back stays so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, StrictStr, StringConstraints
from pydantic.alias_generators import to_camel

from stapes.identity import tags
from stapes.identity.model import Verb
from stapes.server.authentication import Caller, verify_request
from stapes.server.deployment import Deployment
from stapes.server.openapi import operation, plain
from stapes.server.parsing import parse_body
from stapes.server.revoking import (
    Order,
    TakenBack,
    carry_out,
    look_again,
    revoke_session,
    revoke_tag,
    revoke_user,
)
from stapes.server.session_resources import RevokedSessions
from stapes.server.sessions import find, reach, require_root, require_user
from stapes.server.sessions_endpoint import SESSION, SESSION_ID, SESSIONS

KEY = r"^[!-\-/-~]+$"
USER_ALLOWED = {"userId": "must be a string of 1 to 255 characters"}
TAG_ALLOWED = {
    "key": f"must be 1 to {tags.LONGEST_KEY} printable ASCII characters but spaces and periods",
    "value": f"must be a string of at most {tags.LONGEST_VALUE} characters",
}

router = APIRouter()


class RevokeByUserDetails(BaseModel):
    """Whose tokens are taken back."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    user_id: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]


class RevokeByTagDetails(BaseModel):
    """The free-form tag whose sessions are taken back."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    key: Annotated[
        StrictStr, StringConstraints(min_length=1, max_length=tags.LONGEST_KEY, pattern=KEY)
    ]
    value: Annotated[StrictStr, StringConstraints(max_length=tags.LONGEST_VALUE)]


@router.post(
    SESSION + "/actions/revoke",
    response_model=RevokedSessions,
    **operation("RevokeRealtimeSession", 200, "It is taken back.", parameters=[SESSION_ID]),
)
async def revoke(request: Request) -> Response:
    """Take a session back: no new socket, and its live one is closed at once."""
    deployment: Deployment = request.app.state.deployment
    caller = verify_request(deployment, request, await request.body())
    session = await find(deployment, caller, Verb.MANAGE, request.path_params["sessionId"])
    order = _order(deployment, caller)
    work = partial(revoke_session, session=session, order=order)
    return _answer(await carry_out(deployment, work))


@router.post(
    SESSIONS + "/actions/revokeByUser",
    response_model=RevokedSessions,
    **operation(
        "RevokeRealtimeSessionsByUser",
        200,
        "They are taken back.",
        refused=(400,),
        body=plain(RevokeByUserDetails),
    ),
)
async def revoke_by_user(request: Request) -> Response:
    """Take back all that a user holds now. Tokens that are minted later are good."""
    deployment: Deployment = request.app.state.deployment
    body = await request.body()
    caller = verify_request(deployment, request, body)
    user_id = parse_body(RevokeByUserDetails, body, USER_ALLOWED).user_id
    require_root(deployment, caller, Verb.MANAGE)
    await require_user(deployment, caller, user_id)
    order = _order(deployment, caller)
    work = partial(revoke_user, tenancy_id=caller.tenancy_id, user_id=user_id, order=order)
    return _answer(await carry_out(deployment, work))


@router.post(
    SESSIONS + "/actions/revokeByTag",
    response_model=RevokedSessions,
    **operation(
        "RevokeRealtimeSessionsByTag",
        200,
        "They are taken back.",
        refused=(400,),
        body=plain(RevokeByTagDetails),
    ),
)
async def revoke_by_tag(request: Request) -> Response:
    """Take back every session with a free-form tag, where the caller manages them."""
    deployment: Deployment = request.app.state.deployment
    body = await request.body()
    caller = verify_request(deployment, request, body)
    details = parse_body(RevokeByTagDetails, body, TAG_ALLOWED)
    places = reach(deployment, caller, Verb.MANAGE)
    work = partial(
        revoke_tag,
        tag=(details.key, details.value),
        compartment_ids=places,
        tenancy_id=caller.tenancy_id,
        order=_order(deployment, caller),
    )
    taken = await carry_out(deployment, work)
    look_again(deployment, partial(work, is_second_look=True))
    return _answer(taken)


def _order(deployment: Deployment, caller: Caller) -> Order:
    longest_session = timedelta(seconds=deployment.settings.longest_session_s)
    return Order(caller.user_id, caller.tenancy_id, datetime.now(UTC), longest_session)


def _answer(taken: TakenBack) -> Response:
    answer = RevokedSessions(session_count=taken.sessions, live_session_count=taken.live)
    return Response(answer.to_json(), media_type="application/json")
