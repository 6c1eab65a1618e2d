"""Usage, summed: what was used by compartment, user or tag. Its sums are those of the receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

UNTAGGED = ""
"""The name under which streams without the tag are summed."""


class Used(Protocol):
    """What of a stream is summed; times in ms."""

    @property
    def compartment_id(self) -> str: ...  # noqa: D102
    @property
    def user_id(self) -> str: ...  # noqa: D102
    @property
    def freeform_tags(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def audio_ms(self) -> int: ...  # noqa: D102
    @property
    def speech_ms(self) -> int: ...  # noqa: D102
    @property
    def wall_ms(self) -> int: ...  # noqa: D102
    @property
    def words(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Sum:
    """What streams of one name used together; times in ms."""

    name: str
    streams: int = 0
    audio_ms: int = 0
    speech_ms: int = 0
    wall_ms: int = 0
    words: int = 0

    def plus(self, used: Used) -> Sum:
        """The sum with one stream more."""
        return Sum(
            self.name,
            self.streams + 1,
            self.audio_ms + used.audio_ms,
            self.speech_ms + used.speech_ms,
            self.wall_ms + used.wall_ms,
            self.words + used.words,
        )


def parse_grouping(text: str) -> Callable[[Used], str]:
    """``compartment``, ``user`` or ``tag:KEY``: what to sum by.

    Raises ValueError, naming what is allowed.
    """
    kind, colon, key = text.partition(":")
    if kind == "tag" and key:
        return lambda used: used.freeform_tags.get(key, UNTAGGED)
    names = {"compartment": "compartment_id", "user": "user_id"}
    if colon or kind not in names:
        raise ValueError(f"{text!r} is none of compartment, user and tag:KEY")
    return lambda used: str(getattr(used, names[kind]))


def sum_up(streams: Iterable[Used], name_of: Callable[[Used], str]) -> list[Sum]:
    """What was used by each name, most audio first."""
    sums: dict[str, Sum] = {}
    for used in streams:
        name = name_of(used)
        sums[name] = sums.get(name, Sum(name)).plus(used)
    return sorted(sums.values(), key=lambda each: (-each.audio_ms, each.name))
