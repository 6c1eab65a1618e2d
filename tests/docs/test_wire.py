"""The documents of the wire: those of the code, and true of what is sent."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from stapes.errors import ApiError
from stapes.protocol.extension import Extended
from stapes.protocol.messages import Outgoing
from stapes.protocol.params import PARAMETERS, Parameter, parse_params
from stapes.protocol.session import TRANSITIONS
from tools.asyncapi import asyncapi
from tools.wire_tables import TABLES, wire

DOCS = Path(__file__).parents[2] / "docs"
WIRE = (DOCS / "wire.md").read_text(encoding="utf-8")
ASYNCAPI = (DOCS / "asyncapi.yaml").read_text(encoding="utf-8")
STALE = "run: PYTHONPATH=src:. python tools/make_wire_docs.py"


def test_the_tables_are_those_of_the_code() -> None:
    """Nobody writes them by hand."""
    assert wire(WIRE) == WIRE, STALE


def test_the_messages_are_those_of_the_code() -> None:
    """Nor the document for programs."""
    assert asyncapi() == ASYNCAPI, STALE


def test_every_table_has_its_place() -> None:
    """Each of them once; a table that is not shown would go stale unseen."""
    assert sorted(re.findall(r"<!-- table: (\w+) -->", WIRE)) == sorted(TABLES)


def test_every_reference_leads_somewhere() -> None:
    """Messages, schemas and the channel of the operations."""
    document = yaml.safe_load(ASYNCAPI)
    places = set(re.findall(r"\$ref: '?#/([\w/]+)", ASYNCAPI))
    assert places
    for place in places:
        found: Any = document
        for name in place.split("/"):
            found = found[name]


def test_every_message_of_the_server_is_told() -> None:
    """Also those of the extension, and with no field but the listed ones."""
    document = yaml.safe_load(ASYNCAPI)
    told = [document["operations"][name]["messages"] for name in ("tell", "tellExtended")]
    sent = [each["$ref"].rpartition("/")[2] for each in chain(*told)]
    every = dict.fromkeys([*get_args(Outgoing), *get_args(Extended)])
    assert sent == [model.__name__ for model in every]
    schemas = document["components"]["schemas"]
    for name in sent:
        Draft202012Validator.check_schema(schemas[name])
        assert schemas[name]["additionalProperties"] is False


def test_every_rule_of_a_session_says_what_it_does() -> None:
    """In one line, which the table of transitions shows."""
    for rule in set(TRANSITIONS.values()):
        assert rule.__doc__
        assert f"| `{rule.__name__.strip('_')}` | {rule.__doc__} |" in WIRE


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_the_documented_default_is_what_holds_without_a_value(row: Parameter) -> None:
    """Said or left out, the parameter means the same."""
    assert parse_params(f"{row.name}={row.default}") == parse_params("")


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_the_documented_values_are_those_that_are_read(row: Parameter) -> None:
    """Each of them is allowed; for a range, both ends."""
    values = row.allowed if isinstance(row.allowed, tuple) else (row.allowed[0], row.allowed[-1])
    for value in values:
        queries = [f"{row.name}={value}{model}" for model in ("", "&modelType=WHISPER")]
        assert any(_is_read(query) for query in queries), value


def _is_read(query: str) -> bool:
    try:
        return bool(parse_params(query))
    except ApiError:
        return False


@pytest.mark.parametrize("line", re.findall(r'^\w+  (\{"authenticationType.*\})$', WIRE, re.M))
def test_the_example_begins_as_clients_do(line: str) -> None:
    """Its first frame is an authentication message."""
    assert set(json.loads(line)) == {"authenticationType", "compartmentId", "token"}
