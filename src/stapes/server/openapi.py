"""What ``/openapi.json`` says beyond what the framework sees: headers, refusals, bounds of tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from stapes.identity import tags
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken
from stapes.tokens.limits import BOUNDS, LONGEST_S, MODEL_TYPES, NAMESPACE

LONGEST_RETRY_TOKEN = 64
EVERYWHERE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 431, HTTPStatus.INTERNAL_SERVER_ERROR)
SIGNATURE = "ociSignature"
BEARER = "bearerKey"
SECURITY: list[dict[str, list[str]]] = [{SIGNATURE: []}, {BEARER: []}]
_WAITING_HELPS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

_TEXT = {"type": "string"}
_KEY = {
    "type": "string",
    "pattern": r"^[!-\-/-~]+$",
    "maxLength": tags.LONGEST_KEY,
}
_VALUE = {"type": "string", "maxLength": tags.LONGEST_VALUE}
_BOUND = {
    "single_use": {"type": "boolean"},
    "language_code": {**_VALUE, "pattern": "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$"},
    "model_type": {"enum": list(MODEL_TYPES)},
    "origin": {**_VALUE, "pattern": r"^[a-z][a-z0-9+.\-]*://[a-z0-9._\[\]:\-]+$"},
}
_SECONDS = {"type": "integer", "minimum": 1, "maximum": LONGEST_S}


def _header(name: str, text: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "schema": {**_TEXT, **more}}


REQUEST_ID = _header("opc-request-id", "an id of the client's, for tracing", {})


class Refusal(BaseModel):
    """The body of every error."""

    code: str
    message: str


def headers(**more: str) -> dict[str, Any]:
    """Headers of an answer by name and meaning; those of every answer are among them."""
    always = {"opc-request-id": "the id of this request; the client's own comes first"}
    return {
        name.replace("_", "-"): {"required": True, "description": text, "schema": _TEXT}
        for name, text in {**always, **more}.items()
    }


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of an operation that tell of an error, besides those of every operation."""
    return {
        int(status): {
            "model": Refusal,
            "headers": headers(retry_after="seconds to wait")
            if status in _WAITING_HELPS
            else headers(),
        }
        for status in sorted({*statuses, *EVERYWHERE})
    }


def token_operation() -> dict[str, Any]:
    """What the token endpoint is declared with."""
    answer = {
        "description": "The session and its token.",
        "headers": headers(etag="of the answer"),
        "content": {"application/json": {"schema": plain(RealtimeSessionToken)}},
    }
    return {
        "operation_id": "CreateRealtimeSessionToken",
        "responses": {200: answer, **refusals(400, 401, 404, 409, 429, 503)},
        "openapi_extra": {
            "security": SECURITY,
            "parameters": [
                REQUEST_ID,
                _header(
                    "opc-retry-token",
                    "the same request with the same token gets the first answer again, for 24 h",
                    {"minLength": 1, "maxLength": LONGEST_RETRY_TOKEN, "pattern": "^[!-~]+$"},
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _asked()}},
            },
        },
    }


def operation(
    operation_id: str,
    status: int,
    description: str,
    *,
    refused: tuple[int, ...] = (),
    parameters: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
    **headers_of_answer: str,
) -> dict[str, Any]:
    """What an operation that only some may call is declared with."""
    answer = {"description": description, "headers": headers(**headers_of_answer)}
    extra: dict[str, Any] = {"security": SECURITY, "parameters": [REQUEST_ID, *parameters]}
    if body is not None:
        content = {"application/json": {"schema": body}}
        extra["requestBody"] = {"required": True, "content": content}
    return {
        "operation_id": operation_id,
        "status_code": status,
        "responses": {status: answer, **refusals(401, 404, 429, 503, *refused)},
        "openapi_extra": extra,
    }


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The parameters of a query that is read into a model."""
    found = []
    for name, schema in plain(model)["properties"].items():
        text = schema.pop("description")
        found.append({"name": name, "in": "query", "description": text, "schema": schema})
    return found


def describe(app: FastAPI) -> None:
    """Add to the document what belongs to no single operation."""
    framework = app.openapi

    def openapi() -> dict[str, Any]:
        document = framework()
        document.setdefault("components", {})["securitySchemes"] = {
            SIGNATURE: {
                "type": "http",
                "scheme": "signature",
                "description": "OCI request signatures v1: rsa-sha256 over (request-target), host, "
                "date or x-date, content-length, content-type and x-content-sha256.",
            },
            BEARER: {
                "type": "http",
                "scheme": "bearer",
                "description": "A bearer key of a user, for those without an SDK that signs.",
            },
        }
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _asked() -> dict[str, Any]:
    """The request's body, with the limits of tags that the model leaves to be checked later."""
    schema = plain(CreateRealtimeSessionTokenDetails)
    schema["properties"]["freeformTags"] |= _freeform_tags()
    schema["properties"]["definedTags"] |= _defined_tags()
    return schema


def plain(model: type[BaseModel]) -> dict[str, Any]:
    """A body's schema; what was not given is left out of it, though null would be read so too."""
    schema = model.model_json_schema(mode="validation")
    schema["description"] = (model.__doc__ or "").partition("\n")[0]
    for name, value in schema["properties"].items():
        given = {**value, **value["anyOf"][0]} if "anyOf" in value else value
        left_out = {"title", "anyOf"} if value.get("default") else {"title", "anyOf", "default"}
        schema["properties"][name] = {k: v for k, v in given.items() if k not in left_out}
    return schema


def _freeform_tags() -> dict[str, Any]:
    return {
        "maxProperties": tags.MOST_FREEFORM,
        "propertyNames": _KEY,
        "additionalProperties": _VALUE,
    }


def _defined_tags() -> dict[str, Any]:
    values = {"anyOf": [_VALUE, {"type": "integer"}, {"type": "boolean"}]}
    bounds = {key: _BOUND.get(bound.field, _SECONDS) for key, bound in BOUNDS.items()}
    return {
        "description": f"At most {tags.MOST_DEFINED} tags; with freeformTags, at most "
        f"{tags.MOST_BYTES} bytes of JSON. The namespace {NAMESPACE} bounds the token.",
        "propertyNames": _KEY,
        "properties": {
            NAMESPACE: {"type": "object", "properties": bounds, "additionalProperties": False}
        },
        "additionalProperties": {
            "type": "object",
            "propertyNames": _KEY,
            "additionalProperties": values,
        },
    }
