"""Changes of who exists and who may do what: what they write, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stapes.errors import (
    CircularMoveError,
    IdentityError,
    IdentityInUseError,
    InvalidParameterError,
    LastManagerError,
    NameRefusedError,
    NameTakenError,
    UnknownIdentityError,
)
from stapes.identity import changes, key_changes
from stapes.identity.access import allowed
from stapes.identity.change import Change, apply, check_managed
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Binding,
    Compartment,
    Directory,
    Group,
    Policy,
    Tenancy,
    User,
    Verb,
)
from stapes.identity.naming import find_place, path_of

FAMILY = "ai-service-speech-family"
USE_B = f"Allow group Callers to use {FAMILY} in compartment A:B"
MANAGE = f"Allow group Admins to manage {FAMILY} in tenancy"

# Tenancy t: A > B > C, and D beside A. Tenancy x: an A and a user of its own. Tenancy e: empty.
DIRECTORY = Directory(
    tenancies={"t": Tenancy("t", "Ours"), "x": Tenancy("x", "Theirs"), "e": Tenancy("e", "Empty")},
    compartments={
        "a": Compartment("a", "A", "t", "t"),
        "b": Compartment("b", "B", "a", "t"),
        "c": Compartment("c", "C", "b", "t"),
        "d": Compartment("d", "D", "t", "t"),
        "xa": Compartment("xa", "A", "x", "x"),
    },
    users={
        "ann": User("ann", "Ann", "t"),
        "bob": User("bob", "bob@example.org", "t"),
        "eve": User("eve", "Eve", "x"),
    },
    groups={
        "g": Group("g", "Admins", "t", frozenset({"ann"})),
        "h": Group("h", "Callers", "t", frozenset({"ann", "bob"})),
        "i": Group("i", "Idle", "t"),
        "xg": Group("xg", "Admins", "x", frozenset({"eve"})),
    },
    policies={
        "p": Policy("p", "admins", "t", (MANAGE,), (Binding("g", Verb.MANAGE, "t"),)),
        "q": Policy("q", "callers", "t", (USE_B,), (Binding("h", Verb.USE, "b"),)),
    },
    api_keys={("ann", "aa:bb"): ApiKey("ann", "aa:bb", "pem")},
    bearer_keys={"k": BearerKey("k", "ann", "0" * 64), "xk": BearerKey("xk", "eve", "1" * 64)},
)


def done(function: Callable[..., Change], *arguments: Any, **options: Any) -> Directory:
    """The directory after a change."""
    return apply(DIRECTORY, function(DIRECTORY, *arguments, **options))


@pytest.mark.parametrize(
    ("change", "action", "subject", "details"),
    [
        (changes.add_tenancy(DIRECTORY, "New", "n"), "tenancy.added", "n", {"name": "New"}),
        (changes.remove_tenancy(DIRECTORY, "Empty"), "tenancy.removed", "e", {"name": "Empty"}),
        (
            changes.add_compartment(DIRECTORY, "t", "b:New", "n"),
            "compartment.added",
            "n",
            {"path": "A:B:New"},
        ),
        (
            changes.rename_compartment(DIRECTORY, "t", "A:B", "New"),
            "compartment.renamed",
            "b",
            {"path": "A:B", "name": "New"},
        ),
        (
            changes.move_compartment(DIRECTORY, "t", "A:B", "D"),
            "compartment.moved",
            "b",
            {"path": "A:B", "parent": "D"},
        ),
        (
            changes.remove_compartment(DIRECTORY, "t", "A:B:C"),
            "compartment.removed",
            "c",
            {"path": "A:B:C"},
        ),
        (changes.add_user(DIRECTORY, "t", "new", "n"), "user.added", "n", {"name": "new"}),
        (
            changes.remove_user(DIRECTORY, "t", "Ann"),
            "user.removed",
            "ann",
            {"name": "Ann", "groups": ["Admins", "Callers"]},
        ),
        (changes.add_group(DIRECTORY, "t", "new", "n"), "group.added", "n", {"name": "new"}),
        (changes.remove_group(DIRECTORY, "t", "Idle"), "group.removed", "i", {"name": "Idle"}),
        (
            changes.add_member(DIRECTORY, "t", "Idle", "Ann"),
            "membership.added",
            "i",
            {"group": "Idle", "user": "Ann", "userId": "ann"},
        ),
        (
            changes.remove_member(DIRECTORY, "t", "Callers", "Ann"),
            "membership.removed",
            "h",
            {"group": "Callers", "user": "Ann", "userId": "ann"},
        ),
        (
            changes.add_policy(DIRECTORY, "t", "new", [USE_B], "n"),
            "policy.added",
            "n",
            {"name": "new", "statements": [USE_B]},
        ),
        (
            changes.remove_policy(DIRECTORY, "t", "callers"),
            "policy.removed",
            "q",
            {"name": "callers", "statements": [USE_B]},
        ),
        (
            key_changes.add_key(DIRECTORY, BearerKey("n", "ann", "2" * 64)),
            "key.added",
            "n",
            {"user": "Ann", "userId": "ann", "kind": "bearer", "timeExpires": None},
        ),
        (
            key_changes.enable_key(DIRECTORY, "t", "Ann", "aa:bb", enabled=False),
            "key.disabled",
            "aa:bb",
            {"user": "Ann", "userId": "ann", "kind": "api", "timeExpires": None},
        ),
        (
            key_changes.enable_key(DIRECTORY, "t", "Ann", "k", enabled=True),
            "key.enabled",
            "k",
            {"user": "Ann", "userId": "ann", "kind": "bearer", "timeExpires": None},
        ),
        (
            key_changes.remove_key(DIRECTORY, "t", "Ann", "k"),
            "key.removed",
            "k",
            {"user": "Ann", "userId": "ann", "kind": "bearer", "timeExpires": None},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_says_what_the_audit_log_is_to_say(
    change: Change, action: str, subject: str, details: dict[str, Any]
) -> None:
    """What was done, to what, and its name; secrets and their digests are not among it."""
    assert (change.action, change.subject, dict(change.details)) == (action, subject, details)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "told"),
    [
        (changes.add_tenancy, ("ours", "n"), NameTakenError, "tenancy Ours"),
        (changes.add_tenancy, ("", "n"), NameRefusedError, "letters, digits"),
        (changes.remove_tenancy, ("none",), UnknownIdentityError, "tenancy 'none'"),
        (changes.remove_tenancy, ("Ours",), IdentityInUseError, "policy admins, policy callers"),
        (changes.remove_tenancy, ("x",), IdentityInUseError, "remove group Admins first"),
        (changes.add_compartment, ("t", "a:b", "n"), NameTakenError, "compartment B"),
        (changes.add_compartment, ("t", "d", "n"), NameTakenError, "compartment D"),
        (changes.add_compartment, ("t", "Z:New", "n"), UnknownIdentityError, "'Z'"),
        (changes.add_compartment, ("t", "A:C:New", "n"), UnknownIdentityError, "'C'"),
        (changes.add_compartment, ("t", ":New", "n"), UnknownIdentityError, "''"),
        (changes.add_compartment, ("t", "A:", "n"), NameRefusedError, "''"),
        (changes.add_compartment, ("t", "xa:New", "n"), UnknownIdentityError, "'xa'"),
        (changes.add_compartment, ("t", "a@b", "n"), NameRefusedError, "a@b"),
        (changes.rename_compartment, ("t", "A", "d"), NameTakenError, "compartment D"),
        (changes.rename_compartment, ("t", "A", "x:y"), NameRefusedError, "x:y"),
        (changes.rename_compartment, ("t", "t", "New"), UnknownIdentityError, "root"),
        (changes.move_compartment, ("t", "A", "A"), CircularMoveError, "A cannot"),
        (changes.move_compartment, ("t", "A", "A:B:C"), CircularMoveError, "under itself"),
        (changes.move_compartment, ("t", "a", "c"), CircularMoveError, "under itself"),
        (changes.move_compartment, ("t", "A", "xa"), UnknownIdentityError, "'xa'"),
        (changes.move_compartment, ("t", "A", "x"), UnknownIdentityError, "'x'"),
        (changes.move_compartment, ("t", "t", "A"), UnknownIdentityError, "root"),
        (changes.remove_compartment, ("t", "A"), IdentityInUseError, "compartment A:B first"),
        (changes.remove_compartment, ("t", "xa"), UnknownIdentityError, "'xa'"),
        (changes.add_user, ("t", "ANN", "n"), NameTakenError, "user Ann"),
        (changes.add_user, ("t", "a b", "n"), NameRefusedError, "a b"),
        (changes.remove_user, ("t", "ann@"), UnknownIdentityError, "user 'ann@'"),
        (changes.remove_user, ("t", "Eve"), UnknownIdentityError, "user 'Eve'"),
        (changes.remove_user, ("t", "eve"), UnknownIdentityError, "user 'eve'"),
        (changes.add_group, ("t", "admins", "n"), NameTakenError, "group Admins"),
        (changes.remove_group, ("t", "Callers"), IdentityInUseError, "remove policy callers first"),
        (changes.remove_group, ("t", "xg"), UnknownIdentityError, "group 'xg'"),
        (changes.add_member, ("t", "Admins", "eve"), UnknownIdentityError, "user 'eve'"),
        (changes.add_member, ("t", "xg", "Ann"), UnknownIdentityError, "group 'xg'"),
        (changes.remove_member, ("t", "Idle", "Ann"), UnknownIdentityError, "Ann is not in"),
        (changes.add_policy, ("t", "Admins", [MANAGE], "n"), NameTakenError, "policy admins"),
        (changes.add_policy, ("t", "n", ["Allow me"], "n"), InvalidParameterError, "'Allow me'"),
        (
            changes.add_policy,
            ("t", "n", [MANAGE, USE_B.replace("B", "E")], "n"),
            InvalidParameterError,
            "A:E': there is no compartment E",
        ),
        (
            changes.add_policy,
            ("t", "n", [MANAGE.replace("Admins", "admins")], "n"),
            InvalidParameterError,
            "there is no group admins",
        ),
        (changes.remove_policy, ("t", "none"), UnknownIdentityError, "policy 'none'"),
        (changes.remove_policy, ("x", "p"), UnknownIdentityError, "policy 'p'"),
        (key_changes.add_key, (ApiKey("ann", "aa:bb", "pem"),), NameTakenError, "aa:bb"),
        (key_changes.add_key, (BearerKey("k", "bob", "2"),), NameTakenError, "key k"),
        (key_changes.remove_key, ("t", "Ann", "xk"), UnknownIdentityError, "no key 'xk'"),
        (key_changes.remove_key, ("t", "bob", "aa:bb"), UnknownIdentityError, "no key 'aa:bb'"),
        (key_changes.remove_key, ("t", "eve", "xk"), UnknownIdentityError, "user 'eve'"),
    ],
)
def test_what_the_rules_refuse_is_told_by_name(
    function: Callable[..., Change], arguments: tuple[Any, ...], error: type[Exception], told: str
) -> None:
    """Nothing of another tenancy can be named, siblings differ, and nothing is left dangling."""
    with pytest.raises(error) as refused:
        function(DIRECTORY, *arguments)
    assert type(refused.value) is error
    assert told in str(refused.value)


def test_a_compartment_that_a_policy_names_stays() -> None:
    """Emptied first, it is the policy that is in the way."""
    emptied = done(changes.remove_compartment, "t", "A:B:C")
    with pytest.raises(IdentityInUseError, match=r"^compartment A:B is in use; .*policy callers "):
        changes.remove_compartment(emptied, "t", "A:B")


def test_of_much_that_is_in_the_way_the_first_few_are_told() -> None:
    """A sentence stays one."""
    many = {str(n): Compartment(str(n), f"C{n}", "d", "t") for n in range(12)}
    crowded = apply(DIRECTORY, Change("", "", "t", tuple(many.values())))
    with pytest.raises(IdentityInUseError, match=r"D:C4 and 7 more first$"):
        changes.remove_compartment(crowded, "t", "D")


def test_a_removed_user_takes_keys_memberships_and_tokens() -> None:
    """Those of others stay."""
    change = changes.remove_user(DIRECTORY, "t", "Ann")
    after = apply(DIRECTORY, change)
    assert change.revoked_user_id == "ann"
    assert set(after.users) == {"bob", "eve"}
    assert (after.api_keys, set(after.bearer_keys)) == ({}, {"xk"})
    assert {it.id: it.user_ids for it in after.groups.values()} == {
        "g": frozenset(),
        "h": {"bob"},
        "i": frozenset(),
        "xg": {"eve"},
    }


def test_no_other_change_takes_tokens_back() -> None:
    """A key that goes leaves what it minted."""
    assert key_changes.remove_key(DIRECTORY, "t", "Ann", "k").revoked_user_id is None
    assert changes.remove_policy(DIRECTORY, "t", "callers").revoked_user_id is None


@pytest.mark.parametrize(("by_name", "by_id"), [("A:B", "b"), ("A:B:C", "b:C"), ("D", "t:D")])
def test_paths_and_ocids_name_the_same(by_name: str, by_id: str) -> None:
    """The first part of a path may be an OCID, the root's too."""
    assert find_place(DIRECTORY, "t", by_name) == find_place(DIRECTORY, "t", by_id)


def test_a_moved_compartment_takes_along_what_is_below_it() -> None:
    """Its own statements stay with it; those on what is above it now cover it."""
    grant = f"Allow any-user to read {FAMILY} in compartment D"
    granted = done(changes.add_policy, "t", "n", [grant], "n")
    after = apply(granted, changes.move_compartment(granted, "t", "A:B", "D"))
    assert path_of(after, "c") == "D:B:C"
    assert allowed(after, "bob", Verb.USE, "c")
    assert (allowed(granted, "bob", Verb.READ, "a"), allowed(after, "bob", Verb.READ, "a")) == (
        False,
        False,
    )
    assert path_of(apply(after, changes.move_compartment(after, "t", "D:B", None)), "c") == "B:C"


def test_a_renamed_compartment_keeps_its_grants_and_its_name_may_be_taken() -> None:
    """Whoever makes another one under the old name gains nothing by it."""
    renamed = done(changes.rename_compartment, "t", "A:B", "Old")
    after = apply(renamed, changes.add_compartment(renamed, "t", "A:B", "n"))
    assert allowed(after, "bob", Verb.USE, "b")
    assert not allowed(after, "bob", Verb.USE, "n")


def test_a_name_may_change_its_case() -> None:
    """The compartment itself is not among its siblings."""
    after = done(changes.rename_compartment, "t", "A", "a")
    assert path_of(after, "b") == "a:B"


def test_a_policy_is_bound_when_it_is_written() -> None:
    """Statements are kept as they were given, without the blanks around them."""
    after = done(changes.add_policy, "t", "n", [f" {USE_B}\n", MANAGE], "n")
    assert after.policies["n"].statements == (USE_B, MANAGE)
    assert after.policies["n"].bindings == (
        Binding("h", Verb.USE, "b"),
        Binding("g", Verb.MANAGE, "t"),
    )


def test_a_disabled_key_can_be_enabled_again() -> None:
    """Only that changes."""
    off = done(key_changes.enable_key, "t", "Ann", "k", enabled=False)
    assert not off.bearer_keys["k"].enabled
    on = apply(off, key_changes.enable_key(off, "t", "Ann", "k", enabled=True))
    assert on == DIRECTORY


@pytest.mark.parametrize(
    ("function", "arguments", "is_last"),
    [
        (changes.remove_policy, ("t", "admins"), True),
        (changes.remove_member, ("t", "Admins", "Ann"), True),
        (changes.remove_user, ("t", "Ann"), True),
        (changes.remove_policy, ("t", "callers"), False),
        (changes.remove_member, ("t", "Callers", "Ann"), False),
        (changes.remove_user, ("t", "bob"), False),
        (changes.remove_user, ("x", "Eve"), False),
        (changes.remove_tenancy, ("Empty",), False),
    ],
)
def test_the_last_manager_of_a_tenancy_is_told(
    function: Callable[..., Change], arguments: tuple[str, ...], is_last: bool
) -> None:
    """Whether the statement, the member or the user goes; a tenancy that had none is left alone."""
    change = function(DIRECTORY, *arguments)
    if not is_last:
        check_managed(DIRECTORY, change)
        return
    with pytest.raises(LastManagerError, match=r"tenancy Ours .*--force"):
        check_managed(DIRECTORY, change)


@pytest.mark.parametrize("whom", ["any-user", "group Callers"])
def test_somebody_else_who_may_manage_is_enough(whom: str) -> None:
    """In one compartment of the tenancy too."""
    statement = f"Allow {whom} to manage {FAMILY} in compartment D"
    shared = done(changes.add_policy, "t", "n", [statement], "n")
    check_managed(shared, changes.remove_policy(shared, "t", "admins"))


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a:b", "-a", ".a", "é", "a\n", "a'b", "ocid1.user", "OCID1.x", "[a]", "a" * 101],
)
def test_names_that_nothing_may_have(name: str) -> None:
    """What a statement could not spell, what could be an option, and what looks like an OCID."""
    refusals: list[type[Exception]] = []
    for function in (changes.add_user, changes.add_group):
        with pytest.raises(IdentityError) as refused:
            function(DIRECTORY, "t", name, "n")
        refusals.append(type(refused.value))
    assert set(refusals) == {NameRefusedError}


@pytest.mark.parametrize("name", ["z", "7", "a.b-c_d", "any-user", "Group", "a" * 100])
def test_every_name_can_be_spelt_in_a_statement(name: str) -> None:
    """A group and a compartment that were made so are found by a statement without quotes."""
    grouped = done(changes.add_group, "t", name, "n")
    both = apply(grouped, changes.add_compartment(grouped, "t", name, "m"))
    statement = f"Allow group {name} to use {FAMILY} in compartment {name}"
    change = changes.add_policy(both, "t", "new", [statement], "o")
    assert apply(both, change).policies["o"].bindings == (Binding("n", Verb.USE, "m"),)
