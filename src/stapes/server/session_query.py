"""The query that lists sessions, and the pages that its answers come in."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from stapes.errors import InvalidParameterError
from stapes.identity.ocid import is_ocid
from stapes.protocol.resources import CompartmentId
from stapes.store.port import Place, SessionState

MOST_A_PAGE = 1000
TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
TAG = r"^[^=]+=.*$"
TIME_RULE = "must be a time as of RFC 3339, with its offset"
ALLOWED = {
    "compartmentId": "must be a string of 1 to 255 characters",
    "lifecycleState": "must be one of ISSUED, LIVE, CLOSED, EXPIRED, REVOKED",
    "userId": "must be a string of 1 to 255 characters",
    "freeformTag": "must be a tag's key, = and its value",
    "timeCreatedGreaterThanOrEqualTo": TIME_RULE,
    "timeCreatedLessThan": TIME_RULE,
    "limit": f"must be a whole number from 1 to {MOST_A_PAGE}",
    "page": "must be what opc-next-page of the answer before said",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLACE = re.compile(r"(-?[0-9]{1,18}) (\S+)")


def _time(text: str) -> datetime:
    """An aware time. Raises ValueError for whatever is no RFC 3339."""
    if re.fullmatch(TIME, text) is None:
        raise ValueError("no RFC 3339")
    return datetime.fromisoformat(text.upper())


def _whole(text: Any) -> int:
    """A whole number. Raises ValueError for other ways to write one."""
    if re.fullmatch("[0-9]{1,9}", str(text)) is None:
        raise ValueError("no digits")
    return int(text)


Time = Annotated[datetime, BeforeValidator(_time)]


class ListSessionsQuery(BaseModel):
    """Which sessions are asked for, and which page of them."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    compartment_id: CompartmentId | None = Field(
        None, description="of this compartment; default: of all that the caller may inspect"
    )
    lifecycle_state: SessionState | None = Field(None, description="in this state")
    user_id: CompartmentId | None = Field(None, description="of this user")
    freeform_tag: Annotated[str, StringConstraints(pattern=TAG)] | None = Field(
        None, description="with this free-form tag, as KEY=VALUE"
    )
    time_created_greater_than_or_equal_to: Time | None = Field(
        None, description="created at this time or later"
    )
    time_created_less_than: Time | None = Field(None, description="created before this time")
    limit: Annotated[int, BeforeValidator(_whole)] = Field(
        50, ge=1, le=MOST_A_PAGE, description="at most so many"
    )
    page: str | None = Field(None, description="what opc-next-page of the answer before said")

    @property
    def tag(self) -> tuple[str, str] | None:
        """The free-form tag's key and value."""
        if self.freeform_tag is None:
            return None
        key, _, value = self.freeform_tag.partition("=")
        return key, value

    @property
    def after(self) -> Place | None:
        """Where the page before ended. Raises `InvalidParameterError`."""
        return None if self.page is None else parse_page(self.page)


def format_page(place: Place) -> str:
    """A place in the list as ``opc-next-page``. It says nothing that its reader has not read."""
    text = f"{(place[0] - _EPOCH) // _MICROSECOND} {place[1]}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_page(page: str) -> Place:
    """The place that `format_page` wrote. Raises `InvalidParameterError` for anything else."""
    try:
        text = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode("ascii")
        found = _PLACE.fullmatch(text)
        if found is None or not is_ocid(found[2], "aispeechrealtimesession"):
            raise ValueError("no place")
        place = (_EPOCH + int(found[1]) * _MICROSECOND, found[2])
        if format_page(place) != page:
            raise ValueError("written in another way")
    except (ValueError, OverflowError):
        raise InvalidParameterError(f"page {ALLOWED['page']}.") from None
    return place
