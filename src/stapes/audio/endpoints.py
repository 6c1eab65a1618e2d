"""When words may be shown and when an utterance is over, by the audio's own clock."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_SILENCE_MS = 200
"""Silence that is sure to be one and not the closure of a plosive."""

LETTING_GO_MS = 32
"""What the voice activity detector still takes for speech after speech has ended, about: a window
of it. It counts as silence (`scripts/bench endpoints`)."""

ROUNDING_MS = 16
"""Silence is known in whole windows: what ends is ended by the window that is nearest."""

LONGEST_HANGOVER_MS = 1000
"""Pauses up to this stay in the recogniser: with them it keeps the context of the sentence."""

LONGEST_UTTERANCE_MS = 60_000

_EARLIER_MS = LETTING_GO_MS + ROUNDING_MS
_SHORTEST_KNOWN_MS = SHORTEST_SILENCE_MS - _EARLIER_MS


@dataclass(frozen=True, slots=True)
class Endpointer:
    """The two silence thresholds of a stream, as rules.

    Attributes:
        partial_silence_ms: partials are shown only after this much silence; 0 shows them at once.
        final_silence_ms: silence that ends an utterance; 0 means as soon as silence is sure.
        longest_ms: an utterance is ended when it lasts this long.
    """

    partial_silence_ms: int
    final_silence_ms: int
    longest_ms: int = LONGEST_UTTERANCE_MS

    @property
    def hangover_ms(self) -> int:
        """What the detector has to take for silence until a speech segment ends.

        Half of what ends the utterance, so that the recogniser has the other half for its last
        pass and the final is ready when it is due.
        """
        return min(max(self.final_silence_ms // 2, _SHORTEST_KNOWN_MS), LONGEST_HANGOVER_MS)

    @property
    def spare_ms(self) -> int:
        """What a recogniser has left after the end of a segment until the final is due."""
        return self._final_known_ms - self.hangover_ms

    def partial_due(self, silence_ms: int) -> bool:
        """Whether a changed text may be shown after this much silence."""
        if self.partial_silence_ms >= self.final_silence_ms:
            return False
        return silence_ms >= self.partial_silence_ms

    def final_due(self, silence_ms: int, length_ms: int) -> bool:
        """Whether an utterance of this length, with so much silence known after it, is over."""
        return silence_ms >= self._final_known_ms or length_ms >= self.longest_ms

    @property
    def _final_known_ms(self) -> int:
        return max(self.final_silence_ms - _EARLIER_MS, _SHORTEST_KNOWN_MS)
