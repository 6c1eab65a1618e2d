"""The text of ``docs/asyncapi.yaml``: AsyncAPI 3.0, from the messages and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stapes import __version__
from stapes.protocol.extension import SUBPROTOCOL, Extended
from stapes.protocol.messages import (
    CredentialsAuthentication,
    Outgoing,
    SendFinalResult,
    TokenAuthentication,
)
from stapes.protocol.params import PARAMETERS, Parameter

PATH = "/ws/transcribe/stream"
INCOMING: tuple[type[BaseModel], ...] = (
    TokenAuthentication,
    CredentialsAuthentication,
    SendFinalResult,
)
OUTGOING: tuple[type[BaseModel], ...] = get_args(Outgoing)
EXTENSION: tuple[type[BaseModel], ...] = tuple(
    model for model in get_args(Extended) if model not in OUTGOING
)
"""What only a client that offers `stapes.protocol.extension.SUBPROTOCOL` is sent."""
AUDIO = "An audio frame: raw bytes in the encoding of the query, of any number, no header."


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
    for models, mode in ((INCOMING, "validation"), (OUTGOING + EXTENSION, "serialization")):
        for model in models:
            parts = _schemas_of(model, mode)
            for schema in parts.values() if models is not INCOMING else ():
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
    extended = [model.__name__ for model in EXTENSION]
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
                "messages": {
                    n: {"$ref": f"#/components/messages/{n}"} for n in received + sent + extended
                },
                "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "hear": _operation("receive", "What a client sends.", received),
            "tell": _operation("send", "What the server sends.", sent),
            "tellExtended": _operation(
                "send", f"What it sends with the subprotocol {SUBPROTOCOL} alone.", extended
            ),
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
            "summary": _summary(model),
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
        for model in INCOMING + OUTGOING + EXTENSION
    }
    return {"Audio": audio, **told}


def _summary(model: type[BaseModel]) -> str:
    told = first_line(model)
    return f"{told} With the subprotocol {SUBPROTOCOL} alone." if model in EXTENSION else told


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


def first_line(described: object) -> str:
    """Of the docstring of a message, a rule or an error."""
    return (described.__doc__ or "").partition("\n")[0]
