#!/usr/bin/env python3
"""Makes ``docs/asyncapi.yaml``, and the tables of ``docs/wire.md``, again from the code.

The text of ``wire.md`` is written by hand; what stands between ``<!-- table: NAME -->`` and
``<!-- end -->`` is replaced. Run ``PYTHONPATH=src:. python tools/make_wire_docs.py`` after a change
of the messages, the parameters, the transitions, the errors or a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stapes import __version__, errors
from stapes.protocol.events import Event
from stapes.protocol.messages import (
    CredentialsAuthentication,
    Outgoing,
    SendFinalResult,
    TokenAuthentication,
)
from stapes.protocol.params import ORACLE_LANGUAGES, PARAMETERS, WHISPER_LANGUAGES, Parameter
from stapes.protocol.session import TRANSITIONS
from stapes.protocol.stabilize import LEVELS, PROMISED_CHANGES
from stapes.protocol.state import Phase
from stapes.settings import Settings
from stapes.tokens.limits import BOUNDS, NAMESPACE

DOCS = Path(__file__).parent.parent / "docs"
PATH = "/ws/transcribe/stream"
INCOMING: tuple[type[BaseModel], ...] = (
    TokenAuthentication,
    CredentialsAuthentication,
    SendFinalResult,
)
OUTGOING: tuple[type[BaseModel], ...] = get_args(Outgoing)
AUDIO = "An audio frame: raw bytes in the encoding of the query, of any number, no header."
LIMITS = (
    *("authentication_timeout_s", "idle_timeout_s", "longest_session_s"),
    *("longest_text_frame_bytes", "longest_audio_frame_bytes", "unheard_audio_s"),
    *("ping_interval_s", "ping_timeout_s", "send_timeout_s", "drain_timeout_s"),
    *("token_ttl_s", "token_skew_s", "signature_skew_s", "longest_body_bytes"),
)


# Schemas of the messages


class WireSchema(GenerateJsonSchema):
    """JSON Schema of what stands on the wire: an optional field is absent there, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """The schema of the value alone."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Without the default: it is a matter of the code."""
        return self.generate_inner(schema["schema"])

    def get_title_from_name(self, name: str) -> str:
        """Titles say nothing that the names do not."""
        return name


def schemas() -> dict[str, Any]:
    """Schemas of all messages and of their parts, by name; what is sent has no further field."""
    found: dict[str, Any] = {}
    for models, mode in ((INCOMING, "validation"), (OUTGOING, "serialization")):
        for model in models:
            parts = _schemas_of(model, mode)
            for schema in parts.values() if models is OUTGOING else ():
                schema["additionalProperties"] = False
            found |= parts
    return found


def _schemas_of(model: type[BaseModel], mode: Any) -> dict[str, Any]:
    schema = model.model_json_schema(
        ref_template="#/components/schemas/{model}", schema_generator=WireSchema, mode=mode
    )
    parts: dict[str, Any] = {**schema.pop("$defs", {}), model.__name__: schema}
    for part in parts.values():
        # Fields that always stand there have a default in the code, and are required on the wire.
        fixed = [name for name, value in part["properties"].items() if "const" in value]
        part["required"] = [name for name in part["properties"] if name in _required(part, fixed)]
        _untitle(part)
    return parts


def _required(part: dict[str, Any], fixed: Sequence[str]) -> set[str]:
    return {*part.get("required", ()), *fixed}


def _untitle(schema: dict[str, Any]) -> None:
    schema.pop("title", None)
    for value in schema.get("properties", {}).values():
        value.pop("title", None)


# AsyncAPI 3.0


def asyncapi() -> str:
    """The text of ``asyncapi.yaml``."""
    text = yaml.safe_dump(_asyncapi(), sort_keys=False, allow_unicode=True, width=100)
    return f"# Made by tools/make_wire_docs.py; edit the code and make it again.\n{text}"


def _asyncapi() -> dict[str, Any]:
    received = ["Audio", *(model.__name__ for model in INCOMING)]
    sent = [model.__name__ for model in OUTGOING]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stapes realtime",
            "version": __version__,
            "description": "The websocket of a Stapes server. wire.md says what holds of it.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8080", "protocol": "ws"}},
        "channels": {
            "stream": {
                "address": PATH,
                "description": "One session's stream of audio, and what was heard in it.",
                "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in received + sent},
                "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "hear": _operation("receive", "What a client sends.", received),
            "tell": _operation("send", "What the server sends.", sent),
        },
        "components": {"messages": _messages(), "schemas": schemas()},
    }


def _operation(action: str, summary: str, names: Iterable[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in names],
    }


def _messages() -> dict[str, Any]:
    audio = {
        "summary": AUDIO,
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    told = {
        model.__name__: {
            "summary": _first_line(model),
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
        for model in INCOMING + OUTGOING
    }
    return {"Audio": audio, **told}


def _query() -> dict[str, Any]:
    rows = {row.name: _parameter_schema(row) for row in PARAMETERS}
    for row in PARAMETERS:
        for alias in row.aliases:
            rows[alias] = {**rows[row.name], "description": f"old name of {row.name}"}
    return {"type": "object", "properties": rows}


def _parameter_schema(row: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "description": row.help}
    if isinstance(row.allowed, range):
        schema |= {"type": "integer", "minimum": row.allowed[0], "maximum": row.allowed[-1]}
    elif row.allowed:
        schema["enum"] = list(row.allowed)
    default = int(row.default) if schema["type"] == "integer" else row.default
    return {**schema, "default": default}


# The tables of wire.md


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
            row = (phase.name, name, f"`{rule.__name__.strip('_')}`", _first_line(rule))
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
                _first_line(error),
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


def _first_line(described: object) -> str:
    return (described.__doc__ or "").partition("\n")[0]


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "parameters": _parameters,
    "languages": _languages,
    "stability": _stability,
    "incoming": _incoming,
    "outgoing": _outgoing,
    "transitions": _transitions,
    "errors": _errors,
    "limits": _limits,
    "bounds": _bounds,
}


def main() -> None:
    """Write both documents."""
    document = DOCS / "wire.md"
    document.write_text(wire(document.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "asyncapi.yaml").write_text(asyncapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
