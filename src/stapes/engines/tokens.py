"""The tokens of a model as words with times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stapes.protocol.words import Word

LONGEST_TOKEN_MS = 80
"""A token is one moment; its sound is taken to last to the next one, but no longer than this."""

JOINS_THE_NEXT = "@@"

_SPACES = (" ", "▁")
_SIGNS = range(0x2E80, 0xA000)  # of scripts without spaces: each is a word


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text and when it is said. ``probability``: 0..1."""

    text: str
    at_ms: int
    probability: float


def join_tokens(tokens: Sequence[Token], end_ms: int, *, spaced: bool) -> tuple[Word, ...]:
    """The words that the tokens make, none after ``end_ms``.

    ``spaced``: a space begins a word, and one that is a token of its own says when; otherwise each
    token is a word, if the token before it does not end in ``@@``. The confidence of a word is the
    geometric mean of its tokens' probabilities.
    """
    ends = [*(token.at_ms for token in tokens[1:]), end_ms]
    timed = [
        (token, min(end, token.at_ms + LONGEST_TOKEN_MS))
        for token, end in zip(tokens, ends, strict=False)
    ]
    words: list[Word] = []
    for group in _groups(timed, spaced):
        words.append(_word(group, words[-1].end_ms if words else 0, end_ms))
    return tuple(words)


def can_spell(phrase: str, pieces: frozenset[str]) -> bool:
    """Whether each word of a phrase can be put together of the pieces of a vocabulary."""
    words = phrase.split()
    return bool(words) and all(
        _can_join(f"▁{word}", pieces) or _can_join(word, pieces) for word in words
    )


def _can_join(text: str, pieces: frozenset[str]) -> bool:
    ends = {0}
    for end in range(1, len(text) + 1):
        if any(text[start:end] in pieces for start in ends):
            ends.add(end)
    return len(text) in ends


def _groups(timed: Iterable[tuple[Token, int]], spaced: bool) -> Iterator[list[tuple[Token, int]]]:
    """The tokens of each word; a bare space can be its first, and is never all of it."""
    group: list[tuple[Token, int]] = []
    for token, end in timed:
        if group and not _bare(group[-1][0].text):
            group = group if _bare(token.text) else []
        elif group and _begins(token.text, group[-1][0].text, spaced):
            yield group
            group = []
        group.append((token, end))
    if group and _bare(group[-1][0].text):
        yield group


def _begins(text: str, previous: str, spaced: bool) -> bool:
    if _is_sign(text) or _is_sign(previous):
        return True
    return text.startswith(_SPACES) if spaced else not previous.endswith(JOINS_THE_NEXT)


def _word(group: Sequence[tuple[Token, int]], earliest_ms: int, latest_ms: int) -> Word:
    said = [token for token, _ in group if _bare(token.text)]
    logs = [math.log(max(token.probability, 1e-9)) for token in said]
    start = min(max(group[0][0].at_ms, earliest_ms), latest_ms)
    end = min(max(group[-1][1], start), latest_ms)
    text = "".join(_bare(token.text) for token in said)
    return Word(text, start, end, round(math.exp(sum(logs) / len(logs)), 3))


def _bare(text: str) -> str:
    return text.removesuffix(JOINS_THE_NEXT).strip(" ▁")


def _is_sign(text: str) -> bool:
    bare = _bare(text)
    return bool(bare) and ord(bare[0]) in _SIGNS
