"""Punctuation: marks of the engine, marks that were spoken, and marks by simple rules.

Most engines hear words alone; of one that punctuates, the marks at the end of a word become tokens
of their own, whatever was asked for. With SPOKEN the names of marks become the marks; with AUTO an
utterance begins with a capital and ends as a sentence does, and the marks inside it are those of a
model, if one is installed; with NONE the words stay as the engine says them. Both know English; of
other languages SPOKEN leaves the words alone, and AUTO knows no questions.

Spoken marks, in any case::

    comma  ,    period, full stop  .    question mark                        ?
    colon  :    semicolon          ;    exclamation mark, exclamation point  !

Brackets, quotes, dashes and line breaks are not among them: a transcription is its tokens joined
by spaces with none before a mark, which would set these wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stapes.protocol.words import Word

SPOKEN = {
    ("comma",): ",",
    ("period",): ".",
    ("full", "stop"): ".",
    ("question", "mark"): "?",
    ("exclamation", "mark"): "!",
    ("exclamation", "point"): "!",
    ("colon",): ":",
    ("semicolon",): ";",
    ("semi", "colon"): ";",
}
"""The words of each mark. No row is the beginning of another, so their order does not matter."""

_ASKING = {"who", "whom", "whose", "what", "which", "where", "why", "how"}
_ASKING |= {f"{word}'{rest}" for word in _ASKING for rest in ("s", "re", "d", "ll")}
_PERSONS = {"i", "you", "he", "she", "we", "they"}
_THINGS = {"it", "this", "that", "these", "those", "there", "the", "a", "an"}
_THINGS |= {"my", "your", "his", "her", "our", "their"}
_SUBJECTS = {
    **dict.fromkeys(("is", "are", "was", "were", "am", "does", "did"), _PERSONS | _THINGS),
    **dict.fromkeys(("can", "could", "will", "would", "should", "shall"), _PERSONS | _THINGS),
    **dict.fromkeys(("isn't", "aren't", "doesn't", "didn't", "can't"), _PERSONS | _THINGS),
    **dict.fromkeys(("do", "don't", "have", "haven't"), _PERSONS),  # "do it" is no question
}
_ENDS = (".", "?", "!", "…", "。", "？", "।")  # noqa: RUF001 - the marks of other scripts
_MARKS = re.escape(",.?!:;…、。，．？！：；।॥؟،؛።၊။")  # noqa: RUF001 - the marks of other scripts
_CLOSING = r"\"'”’»)\]」』"  # noqa: RUF001 - not the backtick
_MARKED = re.compile(rf"(.*?)([{_MARKS}]+[{_CLOSING}]*)")
"""A word and the marks behind it, with what they close. A mark that opens stays with its word: a
transcription has no space before a mark and one behind it."""


@dataclass(frozen=True, slots=True)
class Mark(Word):
    """A mark. It starts and ends where the word before it ends, and is as sure as that word."""


def punctuate(words: Sequence[Word], mode: str, language: str, *, is_final: bool) -> Sequence[Word]:
    """``words`` with the marks of ``mode``, each a `Mark`; no word is lost.

    Args:
        words: words of one utterance, in order.
        mode: NONE, SPOKEN or AUTO.
        language: the code that the words are in, such as ``en-US``.
        is_final: whether the utterance has ended; the end of a partial is no end of a sentence.
    """
    words = _with_own_marks(words)
    is_english = language.partition("-")[0].casefold() == "en"
    match mode:
        case "SPOKEN" if is_english:
            return _with_spoken_marks(words)
        case "AUTO":
            return _as_sentence(words, is_english=is_english, is_final=is_final)
        case _:
            return words


def _with_own_marks(words: Sequence[Word]) -> Sequence[Word]:
    """The marks that the engine put behind words, as marks; "3.5" and "o'clock" stay whole."""
    shown: list[Word] = []
    for word in words:
        found = _MARKED.fullmatch(word.text)
        if found is None:
            shown.append(word)
            continue
        text, marks = found.groups()
        if text:
            shown.append(replace(word, text=text))
        shown.append(_mark_after(shown, marks, word))
    return shown


def _with_spoken_marks(words: Sequence[Word]) -> Sequence[Word]:
    shown: list[Word] = []
    index = 0
    while index < len(words):
        spoken = _spoken_mark(words, index)
        if spoken is None:
            shown.append(words[index])
            index += 1
        else:
            mark, length = spoken
            shown.append(_mark_after(shown, mark, words[index]))
            index += length
    return shown


def _spoken_mark(words: Sequence[Word], index: int) -> tuple[str, int] | None:
    """The mark whose name begins at ``index``, and how many words name it."""
    said = tuple(word.text.casefold() for word in words[index : index + 2])
    for length in (1, 2):
        if said[:length] in SPOKEN:
            return SPOKEN[said[:length]], length
    return None


def _mark_after(shown: Sequence[Word], text: str, spoken: Word) -> Mark:
    """A mark after what is shown; one that begins an utterance stands where it was spoken."""
    if not shown:
        return Mark(text, spoken.start_ms, spoken.start_ms, spoken.confidence)
    last = shown[-1]
    return Mark(text, last.end_ms, last.end_ms, last.confidence)


def _as_sentence(words: Sequence[Word], *, is_english: bool, is_final: bool) -> Sequence[Word]:
    if not words:
        return words
    shown = [_with_capital_i(word) for word in words] if is_english else list(words)
    first = shown[0]
    shown[0] = replace(first, text=first.text[:1].upper() + first.text[1:])
    if is_final and not shown[-1].text.endswith(_ENDS):
        mark = "?" if is_english and _is_question(words) else "."
        while len(shown) > 1 and isinstance(shown[-1], Mark):
            shown.pop()  # a comma, which is no end
        shown.append(_mark_after(shown, mark, words[-1]))
    return shown


def _with_capital_i(word: Word) -> Word:
    is_i = word.text == "i" or word.text.startswith("i'")
    return replace(word, text=f"I{word.text[1:]}") if is_i else word


def _is_question(words: Sequence[Word]) -> bool:
    """A question word begins it, or a verb with its subject behind it ("are you")."""
    first, second = ([word.text.casefold() for word in words[:2]] + [""])[:2]
    return first in _ASKING or second in _SUBJECTS.get(first, ())
