"""Policy statements."""

from __future__ import annotations

import pytest

from stapes.errors import InvalidParameterError
from stapes.identity.model import Binding, Compartment, Directory, Group, Verb
from stapes.identity.policy import Statement, bind, parse_statement

FAMILY = "ai-service-speech-family"


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        (f"Allow group G to manage {FAMILY} in tenancy", Statement("G", Verb.MANAGE, ())),
        (f"allow group g to inspect {FAMILY} in tenancy", Statement("g", Verb.INSPECT, ())),
        (f"ALLOW GROUP G TO READ {FAMILY.upper()} IN TENANCY", Statement("G", Verb.READ, ())),
        (f"Allow any-user to use {FAMILY} in tenancy", Statement(None, Verb.USE, ())),
        (f"  Allow  group\tG to  use {FAMILY} in tenancy\n", Statement("G", Verb.USE, ())),
        (f"Allow group 'G H' to use {FAMILY} in tenancy", Statement("G H", Verb.USE, ())),
        (f'Allow group "G\'s" to use {FAMILY} in tenancy', Statement("G's", Verb.USE, ())),
        (f"Allow group a@b.c-d_e to use {FAMILY} in tenancy", Statement("a@b.c-d_e", Verb.USE, ())),
        (f"Allow group any-user to use {FAMILY} in tenancy", Statement("any-user", Verb.USE, ())),
        (
            f"Allow group G to use {FAMILY} in compartment Calls",
            Statement("G", Verb.USE, ("Calls",)),
        ),
        (
            f"Allow any-user to use {FAMILY} in compartment Calls:North:a-b_c.d",
            Statement(None, Verb.USE, ("Calls", "North", "a-b_c.d")),
        ),
    ],
)
def test_a_statement_says_who_what_where(text: str, statement: Statement) -> None:
    """Keywords in any case, names as they are."""
    assert parse_statement(text) == statement


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Allow",
        f"Deny group G to manage {FAMILY} in tenancy",
        f"Allow group to manage {FAMILY} in tenancy",
        f"Allow group '' to manage {FAMILY} in tenancy",
        f"Allow group 'G to manage {FAMILY} in tenancy",
        f"Allow group G H to manage {FAMILY} in tenancy",
        f"Allow group G, H to manage {FAMILY} in tenancy",
        f"Allow user G to manage {FAMILY} in tenancy",
        f"Allow dynamic-group G to manage {FAMILY} in tenancy",
        f"Allow any-user G to manage {FAMILY} in tenancy",
        f"Allow group G to administer {FAMILY} in tenancy",
        f"Allow group G to {FAMILY} in tenancy",
        "Allow group G to manage all-resources in tenancy",
        "Allow group G to manage ai-service-speech-transcription-job in tenancy",
        f"Allow group G to manage {FAMILY}",
        f"Allow group G to manage {FAMILY} in",
        f"Allow group G to manage {FAMILY} in compartment",
        f"Allow group G to manage {FAMILY} in compartment A:",
        f"Allow group G to manage {FAMILY} in compartment :A",
        f"Allow group G to manage {FAMILY} in compartment A::B",
        f"Allow group G to manage {FAMILY} in compartment A B",
        f"Allow group G to manage {FAMILY} in tenancy T",
        f"Allow group G to manage {FAMILY} in tenancy where request.user.id = 'x'",
        f"Allow group G to manage {FAMILY} in tenancy; Allow any-user to manage {FAMILY}",
        f"Allowgroup G to manage {FAMILY} in tenancy",
    ],
)
def test_anything_else_is_refused_by_its_words(text: str) -> None:
    """What cannot be understood wholly is refused, and the statement is told."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_statement(text)
    assert refused.value.public.startswith("statement")
    assert text.strip()[:100] in refused.value.public.replace('\\"', '"')


def test_a_long_statement_is_told_in_part() -> None:
    """The answer does not grow with what was sent."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_statement("x" * 100_000)
    assert len(refused.value.public) < 600


def test_a_statement_is_bound_to_what_its_names_mean_when_it_is_written() -> None:
    """Group and compartments are looked up in the policy's own tenancy, from the root down."""
    directory = Directory(
        compartments={
            "a": Compartment("a", "A", "t", "t"),
            "b": Compartment("b", "B", "a", "t"),
            "x": Compartment("x", "X", "other", "other"),
        },
        groups={"g": Group("g", "G", "t"), "h": Group("h", "H", "other")},
    )

    def bound(text: str) -> tuple[Binding, ...]:
        return bind(directory, "t", [f"Allow {text}"])

    of = f"to use {FAMILY} in"
    assert bound(f"group G {of} compartment A:B") == (Binding("g", Verb.USE, "b"),)
    assert bound(f"any-user {of} tenancy") == (Binding(None, Verb.USE, "t"),)
    for text in (
        f"group H {of} tenancy",
        f"group g {of} tenancy",
        f"any-user {of} compartment B",
        f"any-user {of} compartment X",
        f"any-user {of} compartment A:B:C",
    ):
        with pytest.raises(InvalidParameterError, match="there is no"):
            bound(text)
