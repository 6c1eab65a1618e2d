"""Phrase lists: what streams that select them hear rather than what sounds like it.

A list is ``customizations/ALIAS.txt`` in the home, one phrase a line. A client selects lists with
the parameter ``customizations``, by alias, or by an id that is the list's alias. It never learns
what is in them.

Source: `CustomizationInference` of Oracle's "Speech API 20220101" specification.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stapes.engines.port import HearingParams
from stapes.errors import InvalidParameterError
from stapes.protocol.params import Params
from stapes.server.accounting import hearing_params
from stapes.workers.pools import Pools

FOLDER = "customizations"
"""Of the home."""

MOST_LISTS = 8
"""That a stream may select."""

MOST_PHRASES = 500
"""In the lists of a stream, in all: a recogniser takes them in anew for every segment of speech."""

LONGEST_PHRASE = 100
"""Characters."""

MOST_BYTES = 256 * 1024
"""Of a list's file."""

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""No sign that could lead out of the folder, and no hidden file."""

_NAMES = ("customizationAlias", "customizationId")


async def hearing_for(pools: Pools, home: Path, params: Params) -> HearingParams:
    """What a stream is heard with, its phrases included.

    Lists that cannot be used are passed over if the client said so. WHISPER models take none, and
    as all parameters that are of ORACLE models alone, lists change nothing there.

    Raises `InvalidParameterError`, which names the list and the reason.
    """
    hearing = hearing_params(params)
    if not params.customizations or params.model_type == "WHISPER":
        return hearing
    if not pools.takes_phrases(hearing):
        if params.ignore_customizations:
            return hearing
        raise InvalidParameterError(
            f"customizations cannot be used: the model {pools.model_for(hearing)} takes no "
            "phrases. Leave them out, set shouldIgnoreInvalidCustomizations=true, or have a model "
            "that does serve, such as zipformer-en-phrases."
        )
    folder = home / FOLDER
    phrases = await asyncio.to_thread(
        read_phrases, folder, params.customizations, ignores_invalid=params.ignore_customizations
    )
    return hearing_params(params, phrases)


def read_phrases(
    folder: Path, customizations: Sequence[dict[str, Any]], *, ignores_invalid: bool
) -> tuple[str, ...]:
    """The phrases of the lists that are selected, each once.

    With ``ignores_invalid``, a list that cannot be used is passed over; otherwise raises
    `InvalidParameterError`, which names it.
    """
    found: dict[str, None] = {}
    for number, name in enumerate(_named(customizations)):
        try:
            alias = _checked(name, number)
            phrases = found | dict.fromkeys(read_list(folder, alias))
            if len(phrases) > MOST_PHRASES:
                raise _invalid(alias, f"with it there are more than {MOST_PHRASES} phrases")
            found = phrases
        except InvalidParameterError:
            if not ignores_invalid:
                raise
    return tuple(found)


def read_list(folder: Path, alias: str) -> list[str]:
    """The phrases of one list. Raises `InvalidParameterError` when it is none."""
    path = folder / f"{alias}.txt"
    try:
        if not path.is_file():
            raise _invalid(alias, "the server has no such list")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(alias, "it cannot be read") from error
    phrases = [" ".join(line.split()) for line in lines if line.strip()]
    if len(content) > MOST_BYTES or len(phrases) > MOST_PHRASES:
        raise _invalid(alias, "it is too long")
    if any(len(phrase) > LONGEST_PHRASE or not phrase.isprintable() for phrase in phrases):
        raise _invalid(alias, "there is a phrase in it that is none")
    return phrases


def _named(customizations: Iterable[dict[str, Any]]) -> Iterator[object]:
    """What each customization names, and each list that it has in place of an entity's own."""
    for customization in customizations:
        entities = customization.get("entities") or ()
        listed = entities if isinstance(entities, list | tuple) else (entities,)
        names = [_name(each) for each in (customization, *listed)]
        # One that names nothing but its entities is those.
        yield from names[1:] if names[0] is None and names[1:] else names


def _name(customization: object) -> object:
    if not isinstance(customization, dict):
        return customization
    given = (customization.get(name) for name in _NAMES)
    return next((name for name in given if name is not None), None)


def _checked(name: object, number: int) -> str:
    if number >= MOST_LISTS:
        raise InvalidParameterError(f"customizations must name at most {MOST_LISTS} lists.")
    if isinstance(name, str) and _ALIAS.fullmatch(name):
        return name
    raise InvalidParameterError(
        f"customizations must each have a customizationAlias or customizationId of letters, "
        f"digits, dots, dashes and underscores; number {number + 1} has not."
    )


def _invalid(alias: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"The customization {alias} cannot be used: {reason}. Leave it out or set "
        "shouldIgnoreInvalidCustomizations=true."
    )
