"""Holding back the unsure end of a partial, by the level that the client asked for.

The confidence of a word in a partial is the chance that the word survives to the final; a level
is the chance below which trailing words are not shown yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from stapes.protocol.words import Word

LEVELS = {"NONE": 0.0, "LOW": 0.5, "MEDIUM": 0.65, "HIGH": 0.74}

PROMISED_CHANGES = {"NONE": 10.0, "LOW": 3.0, "MEDIUM": 1.0, "HIGH": 0.1}
"""Of 100 words that partials show at a level, how many at most the final may not have, in clear
speech. `scripts/bench stability` holds it over the bundled samples."""


def stabilize(words: Sequence[Word], level: str) -> tuple[Word, ...]:
    """``words`` without the trailing ones that are less sure than ``level`` demands.

    A word is shown when it and nothing after it has to be held back: words are withheld from the
    end only, so what is shown is always the beginning of what was heard.
    """
    sure = LEVELS[level]
    count = len(words)
    while count and words[count - 1].confidence < sure:
        count -= 1
    return tuple(words[:count])
