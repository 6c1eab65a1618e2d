"""``/20220101/realtimeSessionUsage``: what was used, summed. Its sums are those of the receipts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from stapes.accounts.usage import Sum, parse_grouping, sum_up
from stapes.identity.model import Verb
from stapes.server.authentication import verify_request
from stapes.server.deployment import Deployment
from stapes.server.openapi import operation, query_parameters
from stapes.server.parsing import parse_query
from stapes.server.session_query import TIME_RULE, Time
from stapes.server.session_resources import RealtimeSessionUsage, RealtimeSessionUsageItem
from stapes.server.sessions import ask, reach
from stapes.store.port import Store

USAGE = "/20220101/realtimeSessionUsage"
ALLOWED = {
    "by": "must be one of compartment, user and tag:KEY",
    "timeFrom": TIME_RULE,
    "timeTo": TIME_RULE,
}

router = APIRouter()


class UsageQuery(BaseModel):
    """What is summed by what."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    by: Annotated[str, StringConstraints(pattern="^(compartment|user|tag:.{1,100})$")] = Field(
        description="compartment, user or tag:KEY"
    )
    time_from: Time = Field(description="streams that ended at this time or later")
    time_to: Time = Field(description="streams that ended before this time")


@router.get(
    USAGE,
    response_model=RealtimeSessionUsage,
    **operation(
        "SummarizeRealtimeSessionUsage",
        200,
        "The sums, most audio first; streams without the tag have an empty name.",
        refused=(400,),
        parameters=query_parameters(UsageQuery),
    ),
)
async def usage(request: Request) -> Response:
    """Sum what streams used that ended in a time, in all compartments that the caller may read."""
    deployment: Deployment = request.app.state.deployment
    caller = verify_request(deployment, request, await request.body())
    query = parse_query(UsageQuery, request, ALLOWED)
    places = reach(deployment, caller, Verb.READ)
    name_of = parse_grouping(query.by)

    def sums(store: Store) -> list[Sum]:
        seen = (
            each
            for each in store.closed_streams(query.time_from, query.time_to)
            if each.tenancy_id == caller.tenancy_id
            and (places is None or each.compartment_id in places)
        )
        return sum_up(seen, name_of)

    items = [
        RealtimeSessionUsageItem(
            name=each.name,
            streams=each.streams,
            audio_in_ms=each.audio_ms,
            speech_in_ms=each.speech_ms,
            wall_in_ms=each.wall_ms,
            words=each.words,
        )
        for each in await ask(deployment, sums)
    ]
    return Response(RealtimeSessionUsage(items=items).to_json(), media_type="application/json")
