"""Bodies and queries of requests: into models, or refused in words that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stapes.errors import (
    ApiError,
    CannotParseRequestError,
    InvalidParameterError,
    MissingParameterError,
)

Model = TypeVar("Model", bound=BaseModel)


def parse_body(model: type[Model], body: bytes, allowed: Mapping[str, str]) -> Model:
    """A request's body; ``allowed`` says of each field what it takes.

    Raises `CannotParseRequestError` when it is no JSON object; `MissingParameterError` and
    `InvalidParameterError`, which name the field.
    """
    try:
        return model.model_validate_json(body, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _in_our_words(model, error, allowed) from None


def parse_query(model: type[Model], request: Request, allowed: Mapping[str, str]) -> Model:
    """A request's query; what the model does not name is ignored.

    Raises `InvalidParameterError`, which names the parameter, also when it is there twice.
    """
    given: dict[str, str] = {}
    known = {field.alias for field in model.model_fields.values()}
    for name, value in request.query_params.multi_items():
        if name in given and name in known:
            raise InvalidParameterError(f"{name} may be given once.")
        given[name] = value
    try:
        return model.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _in_our_words(model, error, allowed) from None


def _in_our_words(
    model: type[BaseModel], error: ValidationError, allowed: Mapping[str, str]
) -> ApiError:
    fault: ErrorDetails = error.errors(include_url=False, include_context=False)[0]
    if not fault["loc"]:
        return CannotParseRequestError(fault["type"])
    name = str(fault["loc"][0])
    required = {it.alias for it in model.model_fields.values() if it.is_required()}
    # As everywhere in OCI's API, null says that a field was not given.
    if fault["type"] == "missing" or (name in required and fault["input"] is None):
        return MissingParameterError(f"{name} is required.")
    return InvalidParameterError(f"{name} {allowed[name]}.")
