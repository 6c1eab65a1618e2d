"""``stapes token``."""

from __future__ import annotations

import json

import pytest
import typer

from stapes.cli.token import parse_defined, parse_freeform
from tests.cli.conftest import Run
from tests.conftest import Served


def test_token_is_printed_as_json(run: Run, served: Served, at_server: tuple[str, ...]) -> None:
    """By the JSON names; tags keep their types."""
    options = ("--freeform", "room=4", "--defined", "stapes.single-use=true", "--defined", "a.b=x")
    result = run("token", *at_server, *options)
    assert result.exit_code == 0
    token = json.loads(result.output)
    assert token["compartmentId"] == served.home.compartment_id
    assert token["freeformTags"] == {"room": "4"}
    assert token["definedTags"] == {"stapes": {"single-use": True}, "a": {"b": "x"}}
    assert token["token"].count(".") == 2


def test_tags_are_left_out_when_not_given(run: Run, at_server: tuple[str, ...]) -> None:
    """The answer has no empty maps."""
    token = json.loads(run("token", *at_server).output)
    assert set(token) == {"token", "sessionId", "compartmentId"}


def test_refusal_is_one_line(run: Run, at_server: tuple[str, ...]) -> None:
    """With the server's own code and message."""
    result = run("token", *at_server, "--compartment", "ocid1.compartment.oc1..nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "refused a token: 404 NotAuthorizedOrNotFound" in result.stderr
    assert result.stderr.count("\n") == 1


def test_defined_values_keep_their_type() -> None:
    """true, false and whole numbers; everything else is a string."""
    tags = ["n.a=true", "n.b=false", "n.c=-12", "n.d=1.5", "m.e=True", "m.f=", "m.g.h=x=y"]
    assert parse_defined(tags) == {
        "n": {"a": True, "b": False, "c": -12, "d": "1.5"},
        "m": {"e": "True", "f": "", "g.h": "x=y"},
    }


def test_freeform_values_are_strings() -> None:
    """The first equals sign divides."""
    assert parse_freeform(["a=1", "b=c=d"]) == {"a": "1", "b": "c=d"}


@pytest.mark.parametrize("tag", ["", "a", "=b", "a=b", ".a=b"])
def test_malformed_defined_tags_are_usage_errors(tag: str) -> None:
    """The form they should have is told."""
    with pytest.raises(typer.BadParameter, match=r"NAMESPACE\.KEY=VALUE"):
        parse_defined([tag])


def test_malformed_freeform_tag_exits_with_2(run: Run) -> None:
    """As every usage error does."""
    result = run("token", "--freeform", "nonsense")
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr
