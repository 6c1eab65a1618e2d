"""How a transcript is printed: text, JSON, SubRip or WebVTT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from stapes.cli.subtitles import Spoken, to_srt, to_vtt


class Format(StrEnum):
    """What ``--format`` takes."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"

    @property
    def is_subtitles(self) -> bool:
        """Whether a document holds one timeline only."""
        return self in {Format.SRT, Format.VTT}


def to_text(finals: Sequence[Spoken]) -> str:
    """One line per final that has words."""
    return "".join(f"{final.text}\n" for final in finals if final.text)


def to_object(finals: Sequence[Spoken]) -> dict[str, Any]:
    """The text and the finals with their words, by the names of the wire; times in ms."""
    return {
        "text": " ".join(final.text for final in finals if final.text),
        "transcriptions": [_final_object(final) for final in finals if final.text],
    }


def render(format_: Format, finals: Sequence[Spoken], **about: Any) -> str:
    """The whole document, with its line break; ``about`` are further fields of the JSON."""
    match format_:
        case Format.TEXT:
            return to_text(finals)
        case Format.JSON:
            return json.dumps({**about, **to_object(finals)}, ensure_ascii=False) + "\n"
        case Format.SRT:
            return to_srt(finals)
        case Format.VTT:
            return to_vtt(finals)


def _final_object(final: Spoken) -> dict[str, Any]:
    return {
        "transcription": final.text,
        "startTimeInMs": final.start_ms,
        "endTimeInMs": final.end_ms,
        "words": [
            {
                "word": word.text,
                "startTimeInMs": word.start_ms,
                "endTimeInMs": word.end_ms,
                "confidence": round(word.confidence, 3),
            }
            for word in final.words
        ],
    }
