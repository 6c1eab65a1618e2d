"""Pages of sessions: places written down and read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.errors import InvalidParameterError
from stapes.identity.ocid import ENTROPY_BYTES, format_ocid
from stapes.server.session_query import ListSessionsQuery, format_page, parse_page

OCIDS = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES).map(
    lambda entropy: format_ocid("aispeechrealtimesession", entropy)
)


@given(
    moment=st.datetimes(timezones=st.just(UTC)),
    session_id=OCIDS,
)
def test_a_place_comes_back_from_its_page(moment: datetime, session_id: str) -> None:
    """To the microsecond; the page fits a URL as it is."""
    page = format_page((moment, session_id))
    assert parse_page(page) == (moment, session_id)
    assert page.isascii()
    assert all(sign.isalnum() or sign in "-_" for sign in page)


@given(page=st.text())
def test_whatever_is_no_page_is_refused(page: str) -> None:
    """By one error, whatever it holds."""
    with pytest.raises(InvalidParameterError, match="page"):
        parse_page(page)


def test_a_time_keeps_its_offset() -> None:
    """One instant, however it is written; digits beyond microseconds are cut off."""
    read = ListSessionsQuery.model_validate(
        {
            "timeCreatedGreaterThanOrEqualTo": "2026-11-22t13:00:00.123456789+01:00",
            "timeCreatedLessThan": "2026-11-22T12:00:01z",
        }
    )
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    first = read.time_created_greater_than_or_equal_to
    assert first == at + timedelta(microseconds=123456)
    assert read.time_created_less_than == at + timedelta(seconds=1)
