"""Sums of what was used: nothing is lost, nothing counts twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.accounts.receipts import StreamUse, receipt
from stapes.accounts.usage import Sum, parse_grouping, sum_up

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as the store would give it."""

    compartment_id: str = "c"
    user_id: str = "u"
    audio_ms: int = 0
    speech_ms: int = 0
    wall_ms: int = 0
    words: int = 0
    freeform_tags: dict[str, str] = field(default_factory=dict)


amount = st.integers(0, 2**40)
streams_strategy = st.lists(
    st.builds(
        Stream,
        st.sampled_from("abc"),
        st.sampled_from("xyz"),
        amount,
        amount,
        amount,
        amount,
        st.dictionaries(st.sampled_from(["project", "room"]), st.sampled_from(["", "1", "2"])),
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [("compartment", "c"), ("user", "u"), ("tag:project", "demo"), ("tag:a:b", "colon")],
)
def test_what_is_summed_by(text: str, name: str) -> None:
    """A compartment, a user, or the value of a tag, whose key may hold a colon."""
    stream = Stream(freeform_tags={"project": "demo", "a:b": "colon"})
    assert parse_grouping(text)(stream) == name


def test_streams_without_the_tag_are_summed_too() -> None:
    """Under the empty name."""
    sums = sum_up([Stream(audio_ms=1)], parse_grouping("tag:project"))
    assert sums == [Sum("", 1, 1)]


@pytest.mark.parametrize(
    "text", ["", "tag", "tag:", "users", "user:", "user:x", "compartment_id", "audio_ms", "Tag:x"]
)
def test_anything_else_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(ValueError, match="is none of compartment, user and tag:KEY"):
        parse_grouping(text)


def test_most_audio_comes_first() -> None:
    """And names in order where it is the same."""
    streams = [Stream(user_id=name, audio_ms=ms) for name, ms in [("b", 1), ("c", 9), ("a", 1)]]
    sums = sum_up(streams, parse_grouping("user"))
    assert [(each.name, each.audio_ms) for each in sums] == [("c", 9), ("a", 1), ("b", 1)]


def test_nothing_used_is_no_sum() -> None:
    """Not one of zeros."""
    assert sum_up([], parse_grouping("user")) == []


@given(streams_strategy, st.sampled_from(["compartment", "user", "tag:project", "tag:none"]))
def test_sums_equal_the_receipts(streams: list[Stream], by: str) -> None:
    """Each stream counts once, under one name, to the millisecond."""
    made = [_receipt(stream) for stream in streams]
    sums = sum_up(streams, parse_grouping(by))
    assert sum(each.streams for each in sums) == len(streams)
    assert sum(each.audio_ms for each in sums) == sum(it["audioInMs"] for it in made)
    assert sum(each.speech_ms for each in sums) == sum(it["speechInMs"] for it in made)
    assert sum(each.wall_ms for each in sums) == sum(it["wallInMs"] for it in made)
    assert sum(each.words for each in sums) == sum(it["words"] for it in made)


@given(streams_strategy)
def test_a_users_sum_is_that_of_the_users_receipts(streams: list[Stream]) -> None:
    """And of nobody else's."""
    for each in sum_up(streams, parse_grouping("user")):
        own = [_receipt(stream) for stream in streams if stream.user_id == each.name]
        assert (each.streams, each.audio_ms) == (len(own), sum(it["audioInMs"] for it in own))


def _receipt(stream: Stream) -> dict[str, int]:
    amounts = (stream.audio_ms, stream.speech_ms, stream.wall_ms, stream.words)
    return receipt(
        session_id="session",
        tenancy_id="tenancy",
        compartment_id=stream.compartment_id,
        user_id=stream.user_id,
        issuer="stapes",
        freeform_tags=stream.freeform_tags,
        defined_tags=None,
        streams=[StreamUse(1, "scripted", NOON, NOON, "peer", *amounts)],
    )
