"""``/20220101/realtimeSessions``: sessions, their transcripts and their receipts.

A caller learns nothing of what they may not see: another's session, and one that never was, are
both not found. Everything is asked of the database, in a thread: nobody's stream waits for it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from stapes.identity.access import require
from stapes.identity.model import Verb
from stapes.identity.ocid import is_ocid
from stapes.server.authentication import Caller, verify_request
from stapes.server.deployment import Deployment
from stapes.server.openapi import operation, query_parameters
from stapes.server.parsing import parse_query
from stapes.server.session_query import ALLOWED, ListSessionsQuery, format_page
from stapes.server.session_resources import (
    Answer,
    RealtimeSession,
    RealtimeSessionCollection,
    RealtimeSessionReceipt,
    RealtimeSessionTranscript,
    show,
    summarise,
    transcript,
)
from stapes.server.sessions import ask, find, reach, receipt, streams_of
from stapes.store.port import SessionFilter, SessionSummary, Store
from stapes.store.records import Audited

SESSIONS = "/20220101/realtimeSessions"
SESSION = SESSIONS + "/{sessionId}"
PATTERN = r"^ocid1\.aispeechrealtimesession\.oc1\.\.[a-z2-7]{60}$"
SESSION_ID = {
    "name": "sessionId",
    "in": "path",
    "required": True,
    "description": "the session's OCID",
    "schema": {"type": "string", "pattern": PATTERN},
}

router = APIRouter()


@router.get(
    SESSIONS,
    response_model=RealtimeSessionCollection,
    **operation(
        "ListRealtimeSessions",
        200,
        "A page of sessions; the header opc-next-page is there when there is another one.",
        refused=(400,),
        parameters=query_parameters(ListSessionsQuery),
    ),
)
async def list_sessions(request: Request) -> Response:
    """List sessions, newest first, where the caller may inspect them."""
    deployment: Deployment = request.app.state.deployment
    caller = verify_request(deployment, request, await request.body())
    query = parse_query(ListSessionsQuery, request, ALLOWED)
    chosen, after = _chosen(deployment, caller, query), query.after
    now, limit = datetime.now(UTC), query.limit
    if query.user_id is not None and not is_ocid(query.user_id, "user"):
        found: list[SessionSummary] = []
    else:
        found = await ask(
            deployment, lambda store: store.sessions(chosen, now, limit=limit + 1, after=after)
        )
    page = found[:limit]
    more = {}
    if len(found) > limit:
        more["opc-next-page"] = format_page((page[-1].issued_at, page[-1].session_id))
    return _answer(RealtimeSessionCollection(items=[summarise(each) for each in page]), **more)


def _chosen(deployment: Deployment, caller: Caller, query: ListSessionsQuery) -> SessionFilter:
    """What is listed. Raises `NotAuthorizedOrNotFoundError` when that could be nothing at all."""
    if query.compartment_id is not None:
        require(deployment.known.directory, caller.user_id, Verb.INSPECT, query.compartment_id)
    one = None if query.compartment_id is None else frozenset({query.compartment_id})
    return SessionFilter(
        tenancy_id=caller.tenancy_id,
        compartment_ids=one or reach(deployment, caller, Verb.INSPECT),
        user_id=query.user_id,
        state=query.lifecycle_state,
        tag=query.tag,
        issued_from=query.time_created_greater_than_or_equal_to,
        issued_before=query.time_created_less_than,
    )


@router.get(
    SESSION,
    response_model=RealtimeSession,
    **operation("GetRealtimeSession", 200, "The session.", parameters=[SESSION_ID]),
)
async def get_session(request: Request) -> Response:
    """A session, and what each of its streams has used so far."""
    deployment, session = await _asked(request, Verb.READ)
    streams = await ask(deployment, lambda store: streams_of(store, session.session_id))
    return _answer(show(session, streams))


@router.get(
    SESSION + "/transcript",
    response_model=RealtimeSessionTranscript,
    **operation(
        "GetRealtimeSessionTranscript",
        200,
        "What was heard; streams without a final are left out.",
        parameters=[SESSION_ID],
    ),
)
async def get_transcript(request: Request) -> Response:
    """What was heard in a session, as far as it is kept."""
    deployment, session = await _asked(request, Verb.READ)

    def read(store: Store) -> bytes:  # a long one takes a while to write down too
        return transcript(session.session_id, store.finals(session.session_id)).to_json()

    return Response(await ask(deployment, read), media_type="application/json")


@router.delete(
    SESSION + "/transcript",
    response_class=Response,
    **operation("DeleteRealtimeSessionTranscript", 204, "It is deleted.", parameters=[SESSION_ID]),
)
async def delete_transcript(request: Request) -> Response:
    """Delete what was heard so far. The receipt stays; what is heard later is kept again."""
    deployment, session = await _asked(request, Verb.MANAGE)
    caller = request.state.caller
    audited = Audited(
        datetime.now(UTC),
        caller.user_id,
        "transcript.deleted",
        session.session_id,
        session.tenancy_id,
    )

    def forget(store: Store) -> None:
        store.write([audited])  # first: nothing is deleted that nobody is known to have deleted
        store.forget_finals(session.session_id)

    await ask(deployment, forget)
    return Response(status_code=204)


@router.get(
    SESSION + "/receipt",
    response_model=RealtimeSessionReceipt,
    **operation(
        "GetRealtimeSessionReceipt", 200, "The receipt.", refused=(409,), parameters=[SESSION_ID]
    ),
)
async def get_receipt(request: Request) -> Response:
    """What a session used, signed; the keys are at ``/.well-known/receipt-keys.json``."""
    deployment, session = await _asked(request, Verb.READ)
    streams = await ask(deployment, lambda store: streams_of(store, session.session_id))
    issuer = deployment.settings.token_issuer
    key = deployment.signing_key(datetime.now(UTC))
    return JSONResponse(receipt(session, streams, issuer, key))


async def _asked(request: Request, verb: Verb) -> tuple[Deployment, SessionSummary]:
    """The session of the path, for a caller who may do this with it."""
    deployment: Deployment = request.app.state.deployment
    caller = verify_request(deployment, request, await request.body())
    request.state.caller = caller
    return deployment, await find(deployment, caller, verb, request.path_params["sessionId"])


def _answer(answer: Answer, **headers: str) -> Response:
    return Response(answer.to_json(), media_type="application/json", headers=headers)
