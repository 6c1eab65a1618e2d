"""The tables of ``docs/wire.md``, from the code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from stapes import errors
from stapes.protocol.events import Event
from stapes.protocol.params import ORACLE_LANGUAGES, PARAMETERS, WHISPER_LANGUAGES, Parameter
from stapes.protocol.session import TRANSITIONS
from stapes.protocol.stabilize import LEVELS, PROMISED_CHANGES
from stapes.protocol.state import Phase
from stapes.settings import Settings
from stapes.tokens.limits import BOUNDS, NAMESPACE
from tools.asyncapi import EXTENSION, INCOMING, OUTGOING, first_line, schemas

LIMITS = (
    *("authentication_timeout_s", "idle_timeout_s", "longest_session_s"),
    *("longest_text_frame_bytes", "longest_audio_frame_bytes", "unheard_audio_s"),
    *("ping_interval_s", "ping_timeout_s", "send_timeout_s", "drain_timeout_s"),
    *("token_ttl_s", "token_skew_s", "signature_skew_s", "longest_body_bytes"),
)


def wire(text: str) -> str:
    """``text`` with every table made again."""

    def fill(found: re.Match[str]) -> str:
        body = "\n".join(TABLES[found["name"]]())
        return f"<!-- table: {found['name']} -->\n{body}\n<!-- end -->"

    return re.sub(r"<!-- table: (?P<name>\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _codes(values: Iterable[str]) -> str:
    return " · ".join(f"`{value}`" for value in values)


def _parameters() -> Iterator[str]:
    return _table(
        ("parameter", "allowed", "default", "what"),
        (
            (_codes((row.name, *row.aliases)), _allowed(row), f"`{row.default}`", row.help)
            for row in PARAMETERS
        ),
    )


def _allowed(row: Parameter) -> str:
    if isinstance(row.allowed, range):
        return f"{row.allowed[0]} to {row.allowed[-1]}"
    return _codes(row.allowed) if 0 < len(row.allowed) < 20 else "see there"


def _stability() -> Iterator[str]:
    return _table(
        ("`stabilizePartialResults`", "shown from this chance on", "of 100 words shown, change"),
        (
            (f"`{name}`", f"{sure:.2f}", f"at most {PROMISED_CHANGES[name]:g}")
            for name, sure in LEVELS.items()
        ),
    )


def _languages() -> Iterator[str]:
    rows = (("ORACLE", ORACLE_LANGUAGES), ("WHISPER", WHISPER_LANGUAGES))
    return _table(("modelType", "languageCode"), ((f"`{m}`", _codes(all_)) for m, all_ in rows))


def _incoming() -> Iterator[str]:
    return _described(INCOMING)


def _outgoing() -> Iterator[str]:
    return _described(OUTGOING)


def _extension() -> Iterator[str]:
    """The fields that the extension adds, to messages that every client gets and in its own."""
    known = schemas()
    plain = {_event(known[model.__name__]): known[model.__name__] for model in OUTGOING}
    rows: list[tuple[str, ...]] = []
    for model in EXTENSION:
        schema = known[model.__name__]
        event = _event(schema)
        there = plain[event]["properties"] if event in plain else {"event": None}
        for field, value in schema["properties"].items():
            if field not in there:
                what = value.get("description", "")
                rows.append((event, f"`{field}`", _type(value), _always(field, schema), what))
    return _table(("message", "field", "type", "always", "what"), rows)


def _event(schema: dict[str, Any]) -> str:
    return _type(schema["properties"]["event"])


def _described(models: Iterable[type[BaseModel]]) -> Iterator[str]:
    known = schemas()
    names = [model.__name__ for model in models]
    for name in names:
        schema = known[name]
        names += [part for part in _parts(schema) if part not in names]
        yield from ("", f"### {name}", "", schema["description"].partition("\n\n")[0], "")
        yield from _table(
            ("field", "type", "always", "what"),
            (
                (f"`{field}`", _type(value), _always(field, schema), value.get("description", ""))
                for field, value in schema["properties"].items()
            ),
        )
    yield ""


def _always(field: str, schema: dict[str, Any]) -> str:
    return "yes" if field in schema["required"] else "no"


def _parts(schema: dict[str, Any]) -> list[str]:
    return re.findall(r"#/components/schemas/(\w+)", str(schema["properties"]))


def _type(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return _codes(schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema["type"] == "array":
        return f"array of {_type(schema['items'])}"
    return str(schema["type"])


def _transitions() -> Iterator[str]:
    rows: list[tuple[str, str, str, str]] = []
    for phase in Phase:
        rules = {event: rule for (at, event), rule in TRANSITIONS.items() if at is phase}
        every = len(rules) == len(get_args(Event)) and len(set(rules.values())) == 1
        for event, rule in rules.items():
            name = "any" if every else event.__name__
            row = (phase.name, name, f"`{rule.__name__.strip('_')}`", first_line(rule))
            rows += [row] if row not in rows else []
    return _table(("phase", "event", "rule", "what happens"), rows)


def _errors() -> Iterator[str]:
    told = sorted(_told(errors.ApiError), key=lambda error: error.status)
    return _table(
        ("status", "code word", "close", "retry", "when", "sentence"),
        (
            (
                str(error.status),
                f"`{error.code}`",
                str(error.close_code),
                "yes" if error.retryable else "no",
                first_line(error),
                error.sentence,
            )
            for error in told
        ),
    )


def _told(error: type[errors.ApiError]) -> Iterator[type[errors.ApiError]]:
    """What a peer can tell apart: the classes with a code word of their own."""
    for child in error.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from _told(child)


def _limits() -> Iterator[str]:
    fields = Settings.model_fields
    return _table(
        ("setting", "default", "what"),
        ((f"`{n}`", f"`{fields[n].default}`", str(fields[n].description)) for n in LIMITS),
    )


def _bounds() -> Iterator[str]:
    return _table(
        (f"key in `{NAMESPACE}`", "value"),
        ((f"`{key}`", bound.allowed) for key, bound in BOUNDS.items()),
    )


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "parameters": _parameters,
    "languages": _languages,
    "stability": _stability,
    "incoming": _incoming,
    "outgoing": _outgoing,
    "extension": _extension,
    "transitions": _transitions,
    "errors": _errors,
    "limits": _limits,
    "bounds": _bounds,
}
