"""Marks that were spoken, and marks by rule."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.protocol.punctuation import SPOKEN, Mark, punctuate
from stapes.protocol.words import Word

NAMES = "|".join(" ".join(name) for name in SPOKEN)
VOCABULARY = sorted({word for name in SPOKEN for word in name} | {"i", "i'm", "what", "is", "it"})
SAID = st.lists(st.sampled_from(VOCABULARY), max_size=12)
MODES = st.sampled_from(["NONE", "SPOKEN", "AUTO"])
LANGUAGES = st.sampled_from(["en-US", "en-GB", "en", "de-DE", "auto"])


def words(said: list[str]) -> list[Word]:
    return [Word(text, 100 * at, 100 * at + 80, 0.5 + at / 100) for at, text in enumerate(said)]


def shown(said: str, mode: str, language: str = "en-US", *, is_final: bool = True) -> str:
    found = punctuate(words(said.split()), mode, language, is_final=is_final)
    return " ".join(word.text for word in found)


@pytest.mark.parametrize(("name", "mark"), SPOKEN.items(), ids=str)
def test_every_mark_of_the_table_can_be_spoken(name: tuple[str, ...], mark: str) -> None:
    """Behind a word and at the beginning, in any case."""
    spoken = " ".join(name)
    assert shown(f"yes {spoken} no", "SPOKEN") == f"yes {mark} no"
    assert shown(f"{spoken.title()} no", "SPOKEN") == f"{mark} no"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("hello comma world full stop", "hello , world ."),
        ("the full moon", "the full moon"),
        ("stop full", "stop full"),
        ("a question of mark", "a question of mark"),
        ("", ""),
    ],
)
def test_only_whole_names_become_marks(said: str, expected: str) -> None:
    """Part of a name is a word like any other."""
    assert shown(said, "SPOKEN") == expected
    assert shown(said, "SPOKEN", is_final=False) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("it is raining", "It is raining ."),
        ("what time is it", "What time is it ?"),
        ("what's the time", "What's the time ?"),
        ("are you there", "Are you there ?"),
        ("is the door open", "Is the door open ?"),
        ("do you hear me", "Do you hear me ?"),
        ("do it now", "Do it now ."),
        ("have a look", "Have a look ."),
        ("can", "Can ."),
        ("when i came i'd been told i'll go", "When I came I'd been told I'll go ."),
        ("i think it isn't", "I think it isn't ."),
        ("hello comma world", "Hello comma world ."),
        ("it is done.", "It is done ."),
        ("is it done!", "Is it done !"),
        ("", ""),
    ],
)
def test_a_final_becomes_one_sentence(said: str, expected: str) -> None:
    """A capital, I, and one mark at the end; an engine's own mark is kept."""
    assert shown(said, "AUTO") == expected


def test_a_partial_has_no_end_yet() -> None:
    """It is capitalised, and no mark ends it."""
    assert shown("what can i do", "AUTO", is_final=False) == "What can I do"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Hello, there.", "Hello , there ."),
        ("really?! yes...", "really ?! yes ..."),
        ('he said "yes." then', 'he said "yes ." then'),
        ("¿qué? こんにちは。", "¿qué ? こんにちは 。"),
        ("3.5 o'clock the U.S. and", "3.5 o'clock the U.S . and"),
        ("- ' x", "- ' x"),
    ],
)
@pytest.mark.parametrize("mode", ["NONE", "SPOKEN"])
def test_marks_of_the_engine_are_marks(said: str, expected: str, mode: str) -> None:
    """Behind a word, with what they close; within a word or before it they are part of it."""
    assert shown(said, mode) == expected
    found = punctuate(words(said.split()), mode, "en-US", is_final=True)
    assert all(isinstance(word, Mark) for word in found if word.text in {",", ".", "?!", "。"})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Well, this is. Paris? yes.", "Well , this is . Paris ? yes ."),
        ("one, two,", "One , two ."),
        ("are you there,", "Are you there ?"),
        (",", ", ."),
    ],
)
def test_a_sentence_with_marks_keeps_them(said: str, expected: str) -> None:
    """Those inside; at its end is what ends a sentence."""
    assert shown(said, "AUTO") == expected


def test_a_mark_alone_follows_the_word_before_it() -> None:
    """As engines may say it; the first of an utterance stands where it was heard."""
    first, word, second = punctuate(words([".", "yes", ","]), "NONE", "en-US", is_final=True)
    assert first == Mark(".", 0, 0, 0.5)
    assert second == Mark(",", word.end_ms, word.end_ms, word.confidence)


def test_none_leaves_words_alone() -> None:
    """As the engine says them."""
    assert shown("what can i do full stop", "NONE") == "what can i do full stop"


def test_other_languages_have_sentences_and_no_english_rules() -> None:
    """An Italian article stays small, and a word that sounds like a mark stays a word."""
    assert shown("dove sono i colon", "AUTO", "it-IT") == "Dove sono i colon ."
    assert shown("dove sono i colon", "SPOKEN", "it-IT") == "dove sono i colon"


def test_a_mark_stands_where_the_word_before_it_ends() -> None:
    """With that word's confidence; the first of an utterance stands where it was spoken."""
    word, mark = punctuate(words(["yes", "comma"]), "SPOKEN", "en-US", is_final=False)
    assert mark == Mark(",", word.end_ms, word.end_ms, word.confidence)
    (alone,) = punctuate([Word("comma", 70, 90, 0.4)], "SPOKEN", "en-US", is_final=True)
    assert alone == Mark(",", 70, 70, 0.4)


@given(SAID, MODES, LANGUAGES, st.booleans())
def test_no_word_is_lost_and_no_time_goes_back(
    said: list[str], mode: str, language: str, is_final: bool
) -> None:
    """Words that are not shown are the names of spoken marks; times only grow."""
    found = punctuate(words(said), mode, language, is_final=is_final)
    starts = [word.start_ms for word in found if not isinstance(word, Mark)]
    replaced = " ".join(word.text for word in words(said) if word.start_ms not in starts)
    assert starts == sorted(starts)
    assert re.fullmatch(rf"(({NAMES})( |$))*" if mode == "SPOKEN" else "", replaced)
    for before, after in pairwise(found):
        assert before.start_ms <= before.end_ms <= after.start_ms
