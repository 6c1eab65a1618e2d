"""The public models of the token endpoint's bodies."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

import stapes
from stapes import CreateRealtimeSessionTokenDetails, RealtimeSessionToken

TOKEN = {"token": "a.b.c", "sessionId": "session", "compartmentId": "compartment"}


def test_models_take_attribute_names_and_json_names() -> None:
    """Either way gives the same."""
    by_name = CreateRealtimeSessionTokenDetails(compartment_id="c", freeform_tags={"a": "b"})
    by_json = CreateRealtimeSessionTokenDetails.model_validate(
        {"compartmentId": "c", "freeformTags": {"a": "b"}}
    )

    assert by_name == by_json
    assert by_name.compartment_id == "c"


def test_json_has_json_names_and_leaves_out_what_was_not_given() -> None:
    """Tags that were not given are no null."""
    assert json.loads(RealtimeSessionToken(**TOKEN).to_json()) == TOKEN
    assert RealtimeSessionToken(**TOKEN).model_dump() == TOKEN
    empty = CreateRealtimeSessionTokenDetails(compartment_id="c", freeform_tags={})
    assert empty.to_json() == '{"compartmentId":"c","freeformTags":{}}'


def test_defined_tags_keep_their_types() -> None:
    """True stays True and 1 stays 1, through JSON and back."""
    tags: dict[str, dict[str, str | int | bool]] = {"ns": {"yes": True, "one": 1, "text": "1"}}
    details = CreateRealtimeSessionTokenDetails(compartment_id="c", defined_tags=tags)

    again = CreateRealtimeSessionTokenDetails.model_validate_json(details.to_json())

    assert again.defined_tags is not None
    assert [type(value) for value in again.defined_tags["ns"].values()] == [bool, int, str]
    assert again == details


@pytest.mark.parametrize(
    ("model", "fields", "name"),
    [
        (CreateRealtimeSessionTokenDetails, {}, "compartmentId"),
        (RealtimeSessionToken, {**TOKEN, "token": None}, "token"),
        (RealtimeSessionToken, {"token": "t", "compartmentId": "c"}, "sessionId"),
        (RealtimeSessionToken, {"token": "t", "sessionId": "s"}, "compartmentId"),
    ],
)
def test_required_fields_are_enforced_by_name(
    model: type[CreateRealtimeSessionTokenDetails | RealtimeSessionToken],
    fields: dict[str, Any],
    name: str,
) -> None:
    """The error names the field as JSON has it."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)

    assert [fault["loc"] for fault in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize("compartment", ["", "x" * 256, 1, None])
def test_compartment_is_a_string_of_1_to_255_characters(compartment: object) -> None:
    """Nothing is turned into a string on the way."""
    with pytest.raises(ValidationError):
        CreateRealtimeSessionTokenDetails.model_validate({"compartmentId": compartment})


@pytest.mark.parametrize("value", [1.0, None, [], {}])
def test_defined_tag_of_another_type_is_refused(value: object) -> None:
    """Strings, integers and booleans only."""
    with pytest.raises(ValidationError):
        CreateRealtimeSessionTokenDetails.model_validate(
            {"compartmentId": "c", "definedTags": {"ns": {"k": value}}}
        )


def test_unknown_fields_are_ignored() -> None:
    """OCI adds fields as time goes by."""
    assert RealtimeSessionToken.model_validate({**TOKEN, "systemTags": {}}).model_dump() == TOKEN


def test_models_are_frozen() -> None:
    """What was answered does not change."""
    with pytest.raises(ValidationError, match="frozen"):
        RealtimeSessionToken(**TOKEN).token = "other"  # type: ignore[misc]


def test_token_is_not_in_the_repr() -> None:
    """What is printed by chance must not open a session."""
    assert "a.b.c" not in repr(RealtimeSessionToken(**TOKEN))


def test_importing_stapes_loads_nothing_heavy() -> None:
    """The models come when they are asked for."""
    script = "import sys, stapes; print([m for m in ('pydantic', 'numpy') if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """And no other."""
    assert all(hasattr(stapes, name) for name in stapes.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        stapes.nothing  # noqa: B018
