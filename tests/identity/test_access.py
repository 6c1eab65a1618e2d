"""Who may do what where."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stapes.errors import InvalidParameterError, NotAuthorizedOrNotFoundError
from stapes.identity.access import (
    allowed,
    compartments_for,
    find_api_key,
    find_bearer_key,
    require,
)
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Compartment,
    Directory,
    Group,
    Policy,
    Tenancy,
    User,
    Verb,
)
from stapes.identity.policy import bind

NOW = datetime(2026, 1, 1, tzinfo=UTC)

FAMILY = "ai-service-speech-family"

# Tenancy t: a > b > c, and d beside a. Tenancy x: a compartment of the same name.
COMPARTMENTS = [
    Compartment("a", "A", "t", "t"),
    Compartment("b", "B", "a", "t"),
    Compartment("c", "C", "b", "t"),
    Compartment("d", "D", "t", "t"),
    Compartment("xa", "A", "x", "x"),
]
USERS = [User("ann", "ann", "t"), User("bob", "bob", "t"), User("eve", "eve", "x")]
GROUPS = [
    Group("g", "G", "t", frozenset({"ann"})),
    Group("h", "H", "t", frozenset({"bob"})),
    Group("xg", "G", "x", frozenset({"eve", "bob"})),
]
WHERE = ("t", "a", "b", "c", "d", "x", "xa", "", "unknown")


def directory(*statements: str, tenancy: str = "t") -> Directory:
    empty = Directory(
        tenancies={"t": Tenancy("t", "T"), "x": Tenancy("x", "X")},
        compartments={each.id: each for each in COMPARTMENTS},
        users={each.id: each for each in USERS},
        groups={each.id: each for each in GROUPS},
    )
    bindings = bind(empty, tenancy, statements)
    policy = Policy("p", "P", tenancy, tuple(statements), bindings)
    return replace(empty, policies={"p": policy})


def covered(asked: Directory, user: str, verb: Verb = Verb.USE) -> set[str]:
    return {place for place in WHERE if allowed(asked, user, verb, place)}


@pytest.mark.parametrize(
    ("where", "places"),
    [
        ("tenancy", {"t", "a", "b", "c", "d"}),
        ("compartment A", {"a", "b", "c"}),
        ("compartment A:B", {"b", "c"}),
        ("compartment A:B:C", {"c"}),
        ("compartment D", {"d"}),
    ],
)
def test_a_grant_covers_its_compartment_and_those_below(where: str, places: set[str]) -> None:
    """Compartments are named from the root down, and nothing beside or above is covered."""
    asked = directory(f"Allow group G to use {FAMILY} in {where}")
    assert covered(asked, "ann") == places
    assert covered(asked, "bob") == set()
    assert covered(asked, "eve") == set()
    assert covered(asked, "nobody") == set()


@pytest.mark.parametrize("path", ["B", "B:C", "A:C", "a", "T", "A:B:C:D", "D:A", "Unknown"])
def test_a_grant_on_a_compartment_that_does_not_exist_cannot_be_written(path: str) -> None:
    """Paths begin below the root, in the very case, and no part may be missing."""
    with pytest.raises(InvalidParameterError, match="there is no compartment"):
        directory(f"Allow group G to use {FAMILY} in compartment {path}")


# Who is asked about, which statement there is, and where each verb of it then reaches.
REACH = [
    ("ann", "group G", "tenancy", {"t", "a", "b", "c", "d"}),
    ("ann", "group G", "compartment A", {"a", "b", "c"}),
    ("ann", "group G", "compartment A:B", {"b", "c"}),
    ("ann", "group G", "compartment A:B:C", {"c"}),
    ("ann", "any-user", "compartment A:B", {"b", "c"}),
    ("bob", "any-user", "tenancy", {"t", "a", "b", "c", "d"}),
    ("bob", "group G", "tenancy", set()),
    ("eve", "group G", "tenancy", set()),
    ("eve", "any-user", "tenancy", set()),
    ("nobody", "any-user", "tenancy", set()),
]


@pytest.mark.parametrize("granted", list(Verb))
@pytest.mark.parametrize(("user", "whom", "where", "reach"), REACH)
def test_every_verb_reaches_as_far_as_it_was_granted(
    user: str, whom: str, where: str, reach: set[str], granted: Verb
) -> None:
    """Each verb asked for, in every place of both tenancies: the granted and weaker ones pass."""
    asked = directory(f"Allow {whom} to {granted} {FAMILY} in {where}")
    verbs = list(Verb)
    for verb in verbs:
        weaker = verbs.index(verb) <= verbs.index(granted)
        assert covered(asked, user, verb) == (reach if weaker else set()), verb


@pytest.mark.parametrize("granted", list(Verb))
@pytest.mark.parametrize("asked", list(Verb))
def test_a_verb_includes_the_weaker_ones(granted: Verb, asked: Verb) -> None:
    """The order is inspect, read, use, manage."""
    order = ["inspect", "read", "use", "manage"]
    with_grant = directory(f"Allow group G to {granted} {FAMILY} in tenancy")
    expected = order.index(asked) <= order.index(granted)
    assert allowed(with_grant, "ann", asked, "a") is expected


def test_nobody_may_do_anything_by_default() -> None:
    """Without statements everything is denied, and in an empty directory too."""
    for user in ("ann", "bob", "eve", "nobody", ""):
        assert covered(directory(), user, Verb.INSPECT) == set()
        assert not allowed(Directory(), user, Verb.INSPECT, user)


def test_any_user_is_any_of_the_tenancy() -> None:
    """Users of another tenancy are not among them."""
    asked = directory(f"Allow any-user to use {FAMILY} in compartment A")
    assert covered(asked, "ann") == covered(asked, "bob") == {"a", "b", "c"}
    assert covered(asked, "eve") == covered(asked, "nobody") == set()


def test_tenancies_do_not_reach_into_each_other() -> None:
    """Groups, policies and compartments of another tenancy never count, though names agree."""
    theirs = directory(f"Allow group G to manage {FAMILY} in tenancy", tenancy="x")
    assert covered(theirs, "eve") == {"x", "xa"}
    assert covered(theirs, "ann") == set()
    assert covered(theirs, "bob") == set()


def test_statements_add_up() -> None:
    """One statement that allows is enough, whichever it is."""
    asked = directory(
        f"Allow group H to manage {FAMILY} in tenancy",
        f"Allow group G to inspect {FAMILY} in tenancy",
        f"Allow group G to use {FAMILY} in compartment D",
    )
    assert covered(asked, "ann") == {"d"}
    assert covered(asked, "ann", Verb.INSPECT) == {"t", "a", "b", "c", "d"}


def test_statements_without_bindings_grant_nothing() -> None:
    """What a statement says counts for nothing; what it was bound to when written does."""
    text = f"Allow any-user to manage {FAMILY} in tenancy"
    unbound = replace(directory(), policies={"p": Policy("p", "P", "t", (text,))})
    assert covered(unbound, "ann", Verb.INSPECT) == set()


def test_renaming_or_moving_a_compartment_brings_nobody_anything() -> None:
    """A statement stays with the compartment it was written for, whatever is named so later."""
    asked = directory(f"Allow group G to use {FAMILY} in compartment A:B")
    places = dict(asked.compartments)
    places["b"] = replace(places["b"], name="Old")
    places["d"] = replace(places["d"], name="B", parent_id="a")
    assert covered(replace(asked, compartments=places), "ann") == {"b", "c"}


def test_a_group_made_anew_under_the_name_inherits_nothing() -> None:
    """A statement stays with its group: one that is removed and made again is another."""
    asked = directory(f"Allow group G to use {FAMILY} in tenancy")
    groups = {"g2": Group("g2", "G", "t", frozenset({"bob", "ann"}))}
    assert covered(replace(asked, groups=groups), "ann") == set()


@pytest.mark.parametrize("parent", ["c", "b", "a", "unknown", "xa"])
def test_a_compartment_with_no_way_to_the_root_is_denied(parent: str) -> None:
    """A circle, a gap or a parent in another tenancy leaves nothing to grant on."""
    asked = directory(f"Allow any-user to manage {FAMILY} in tenancy")
    top = replace(asked.compartments["a"], parent_id=parent)
    astray = replace(asked, compartments=asked.compartments | {"a": top})
    assert covered(astray, "ann") == {"t", "d"}


def test_a_compartment_that_says_it_is_anothers_is_denied() -> None:
    """Hanging below our root is not enough when a compartment names another tenancy."""
    asked = directory(f"Allow any-user to manage {FAMILY} in tenancy")
    theirs = replace(asked.compartments["d"], tenancy_id="x")
    mixed = replace(asked, compartments=asked.compartments | {"d": theirs})
    assert covered(mixed, "ann") == {"t", "a", "b", "c"}


def test_require_tells_no_difference() -> None:
    """A compartment that does not exist and one that is not granted get the same answer."""
    asked = directory(f"Allow group G to use {FAMILY} in compartment A")
    require(asked, "ann", Verb.USE, "a")
    answers = set()
    for place in ("d", "unknown", "xa"):
        with pytest.raises(NotAuthorizedOrNotFoundError) as refused:
            require(asked, "ann", Verb.USE, place)
        answers.add((refused.value.public, refused.value.status))
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("tenancy", "user", "fingerprint", "found"),
    [
        ("t", "ann", "aa", True),
        ("x", "ann", "aa", False),
        ("t", "bob", "aa", False),
        ("t", "ann", "bb", False),
        ("t", "ann", "off", False),
        ("t", "ann", "old", False),
        ("t", "ann", "new", True),
        ("t", "gone", "aa", False),
        ("", "", "", False),
    ],
)
def test_an_api_key_is_found_by_all_three_parts(
    tenancy: str, user: str, fingerprint: str, found: bool
) -> None:
    """Tenancy, user and fingerprint have to agree, and the key has to be in use."""
    keys = [
        ApiKey("ann", "aa", "pem"),
        ApiKey("ann", "off", "pem", enabled=False),
        ApiKey("ann", "old", "pem", expires_at=NOW),
        ApiKey("ann", "new", "pem", expires_at=NOW + timedelta(seconds=1)),
        ApiKey("gone", "aa", "pem"),
    ]
    asked = replace(directory(), api_keys={(key.user_id, key.fingerprint): key for key in keys})
    key = find_api_key(asked, tenancy, user, fingerprint, NOW)
    assert (key is not None) is found
    if key is not None:
        assert (key.user_id, key.fingerprint) == (user, fingerprint)


def bearer(id_: str, user: str = "ann", **more: object) -> BearerKey:
    return BearerKey(id_, user, hashlib.sha256(b"secret").hexdigest(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("id_", "secret", "found"),
    [
        ("k", "secret", True),
        ("k", "Secret", False),
        ("k", "", False),
        ("k", "\ud800", False),
        ("off", "secret", False),
        ("old", "secret", False),
        ("orphan", "secret", False),
        ("unknown", "secret", False),
        ("unknown", "", False),
    ],
)
def test_a_bearer_key_is_found_by_id_and_secret(id_: str, secret: str, found: bool) -> None:
    """It has to be enabled, not expired, and of a user who exists."""
    keys = [
        bearer("k"),
        bearer("off", enabled=False),
        bearer("old", expires_at=NOW),
        bearer("orphan", user="gone"),
    ]
    asked = replace(directory(), bearer_keys={key.id: key for key in keys})
    assert (find_bearer_key(asked, id_, secret, NOW) is not None) is found


def test_the_compartments_of_a_user_are_those_of_their_tenancy_that_are_granted() -> None:
    """The root is among them when it is granted, and a stranger has none."""
    asked = directory(
        f"Allow group G to inspect {FAMILY} in compartment A:B",
        f"Allow group H to manage {FAMILY} in tenancy",
    )
    assert compartments_for(asked, "ann", Verb.INSPECT) == {"b", "c"}
    assert compartments_for(asked, "ann", Verb.READ) == set()
    assert compartments_for(asked, "bob", Verb.READ) == {"t", "a", "b", "c", "d"}
    assert compartments_for(asked, "nobody", Verb.INSPECT) == set()
