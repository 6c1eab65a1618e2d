"""How the stability of partials is counted."""

from __future__ import annotations

from bench.stability import first_shown_s
from stapes.client.results import Final, Partial
from stapes.measuring.delays import taken_back, utterances
from stapes.measuring.playing import Shown
from stapes.protocol.words import Word


def shown(at_s: float, text: str, *, is_final: bool = False) -> Shown:
    words = tuple(Word(each, 100 * at, 100 * at + 90, 1.0) for at, each in enumerate(text.split()))
    kind = Final if is_final else Partial
    return Shown(at_s, kind(text, 0, 0, 0, 1.0, words))


HEARD = [
    shown(1.0, "a"),
    shown(2.0, "a dog"),
    shown(3.0, "the dog ran"),
    shown(4.0, "the dog ran", is_final=True),
    shown(5.0, "home", is_final=True),
]


def test_results_belong_to_the_final_after_them() -> None:
    """Each final ends an utterance; what comes after the last one belongs to none."""
    assert utterances([*HEARD, shown(6.0, "x")]) == [HEARD[:4], HEARD[4:]]


def test_words_behind_a_change_are_taken_back() -> None:
    """A new first word takes back both words that were shown; more words take nothing back."""
    assert taken_back(HEARD[:2]) == 0
    assert taken_back(HEARD[:4]) == 2
    assert taken_back([shown(1.0, "a dog"), shown(2.0, "a")]) == 1


def test_a_word_appears_with_its_text_at_its_time() -> None:
    """The dog was there from the second result on, though its first word was another."""
    assert first_shown_s(HEARD[:4]) == [3.0, 2.0, 3.0]
