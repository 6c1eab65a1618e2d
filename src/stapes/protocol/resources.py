"""The two bodies of the token endpoint, as public models.

Attributes are snake_case; JSON names are those of OCI's Speech API 20220101. Both can be used to
construct one, JSON comes out by its own names alone, and fields that JSON adds are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_serializer,
)
from pydantic.alias_generators import to_camel

LONGEST_COMPARTMENT_ID = 255

CompartmentId = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_COMPARTMENT_ID)
]
FreeformTags = dict[StrictStr, StrictStr]
DefinedTags = dict[StrictStr, dict[StrictStr, StrictBool | StrictInt | StrictStr]]


class _Resource(BaseModel):
    """A body whose optional fields are left out of the JSON when they were not given."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_was_not_given(
        self, serializer: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        return {name: value for name, value in serializer(self).items() if value is not None}

    def to_json(self) -> str:
        """The body as compact JSON, by its JSON names."""
        return self.model_dump_json()


class CreateRealtimeSessionTokenDetails(_Resource):
    """What is asked for: a session in a compartment, with tags that the answer repeats.

    Raises `pydantic.ValidationError`, which names fields by their JSON names. A defined tag's
    value is a string, an integer or a boolean and stays of its type.
    """

    compartment_id: CompartmentId
    freeform_tags: FreeformTags | None = None
    defined_tags: DefinedTags | None = None


class RealtimeSessionToken(_Resource):
    """A session's token (a JWT for the websocket's first message) and what it was made for."""

    token: StrictStr = Field(repr=False)
    session_id: StrictStr
    compartment_id: CompartmentId
    freeform_tags: FreeformTags | None = None
    defined_tags: DefinedTags | None = None
