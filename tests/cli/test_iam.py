"""``stapes iam``: what it changes in a home's store, what it prints and what it refuses."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from stapes.accounts.audit import check
from stapes.cli.iam.expiry import parse_expiry
from stapes.cli.iam.register import open_register
from stapes.client.profile import load_private_key, read_profile
from stapes.identity import changes
from stapes.identity.access import find_api_key, find_bearer_key
from stapes.identity.bearer import parse_bearer_key
from stapes.identity.model import Group, User, Verb
from stapes.server.home import Home, open_home
from stapes.server.new_home import create_home
from stapes.signing.fingerprint import fingerprint
from stapes.store.sql import SqlStore, open_store
from tests.cli.conftest import Run

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FAMILY = "ai-service-speech-family"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home, _ = create_home(tmp_path_factory.mktemp("made") / "home", NOW)
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of the test's own, which commands find by the environment."""
    shutil.copytree(made.path, tmp_path / "home")
    config = tmp_path / "home" / "oci" / "config"
    config.write_text(config.read_text().replace(str(made.path), str(tmp_path / "home")))
    monkeypatch.setenv("STAPES_HOME", str(tmp_path / "home"))
    return open_home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Iterator[SqlStore]:
    """Open all the time, as a running server has it."""
    store = open_store(home.database)
    yield store
    store.close()


def done(run: Run, *arguments: object) -> str:
    """What a command that succeeds prints."""
    result = run("iam", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout.rstrip("\n")


def refused(run: Run, *arguments: object) -> str:
    """The one line of a command that fails."""
    result = run("iam", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def listed(run: Run, *arguments: object) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json.loads(done(run, *arguments, "--json"))
    return objects


def test_every_change_reaches_the_store_with_its_audit_line(
    run: Run, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one transaction each; the chain holds, and says who it was whatever they say they are."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    compartment = done(run, "compartment", "add", "calls")
    done(run, "compartment", "rename", "calls", "Calls")
    done(run, "compartment", "move", "Calls", "--to", "speech")
    user = done(run, "user", "add", "backend")
    group = done(run, "group", "add", "Minters")
    done(run, "group", "add-user", "Minters", "backend")
    statement = f"Allow group Minters to use {FAMILY} in compartment speech:Calls"
    policy = done(run, "policy", "add", "minting", statement)
    after = store.directory()
    assert after.compartments[compartment].name == "Calls"
    assert after.groups[group].user_ids == {user}
    assert [it.verb for it in after.policies[policy].bindings] == [Verb.USE]

    done(run, "policy", "remove", policy)
    done(run, "group", "remove-user", group, user)
    done(run, "group", "remove", "Minters")
    done(run, "user", "remove", "backend")
    done(run, "compartment", "remove", compartment)
    after = store.directory()
    assert not {compartment, user, group, policy} & {
        *after.compartments,
        *after.users,
        *after.groups,
        *after.policies,
    }

    rows = store.audit()
    assert [row.action for row in rows] == [
        *("compartment.added", "compartment.renamed", "compartment.moved", "user.added"),
        *("group.added", "membership.added", "policy.added", "policy.removed"),
        *("membership.removed", "group.removed", "user.removed", "compartment.removed"),
    ]
    assert {row.actor for row in rows} == {f"local:{pwd.getpwuid(os.getuid()).pw_name}"}
    assert rows[6].details == {"name": "minting", "statements": [statement]}
    assert check(rows).fault is None


def test_each_change_is_one_that_servers_notice(run: Run, store: SqlStore) -> None:
    """The version of the identities goes up once for each, and for a removed user the other too."""
    before = store.versions()
    done(run, "user", "add", "backend")
    added = store.versions()
    assert (added.identities, added.revocations) == (before.identities + 1, before.revocations)
    done(run, "user", "remove", "backend")
    removed = store.versions()
    assert removed.identities == added.identities + 1
    assert removed.revocations == added.revocations + 1


def test_a_removed_user_has_all_tokens_taken_back(run: Run, store: SqlStore) -> None:
    """Those that were issued before; the keys are gone as well."""
    user = done(run, "user", "add", "backend")
    done(run, "key", "add", "backend", "--bearer")
    before = datetime.now(UTC)
    done(run, "user", "remove", "backend")
    taken = {user_id: at for (_, user_id), at in store.revocations(datetime.now(UTC)).users.items()}
    assert taken[user] >= before
    assert store.directory().bearer_keys == {}


def test_what_is_refused_changes_nothing(run: Run, store: SqlStore) -> None:
    """One line says why, and neither the store nor its audit log has anything of it."""
    before, versions = store.directory(), store.versions()
    assert "there is a user administrator" in refused(run, "user", "add", "Administrator")
    assert refused(run, "group", "remove", "Administrators") == (
        "group Administrators is in use; remove policy administrators first"
    )
    assert "must be Allow" in refused(run, "policy", "add", "new", "Allow me")
    assert "there is no tenancy 'none'" in refused(run, "user", "list", "--tenancy", "none")
    assert "there is no user 'none'" in refused(run, "key", "add", "none", "--bearer")
    assert "policy administrators" in refused(run, "tenancy", "remove", "stapes")
    assert (store.directory(), store.versions(), store.audit()) == (before, versions, [])


@pytest.mark.parametrize(
    "command",
    [
        ("policy", "remove", "administrators"),
        ("group", "remove-user", "Administrators", "administrator"),
        ("user", "remove", "administrator"),
    ],
)
def test_the_last_manager_goes_by_force_only(
    run: Run, store: SqlStore, command: tuple[str, ...]
) -> None:
    """Whoever has the machine can always add another."""
    assert "nobody could manage tenancy stapes" in refused(run, *command)
    assert store.audit() == []
    done(run, *command, "--force")
    assert len(store.audit()) == 1


def test_tenancies_share_nothing(run: Run, store: SqlStore) -> None:
    """The same names exist in each, and neither command line nor grant reaches across."""
    other = done(run, "tenancy", "add", "other")
    done(run, "user", "add", "administrator", "--tenancy", "other")
    done(run, "compartment", "add", "speech", "--tenancy", other)
    assert {it["name"] for it in listed(run, "tenancy", "list")} == {"stapes", "other"}
    assert [it["name"] for it in listed(run, "user", "list", "--tenancy", other)] == [
        "administrator"
    ]
    (compartment,) = listed(run, "compartment", "list", "--tenancy", "other")
    assert compartment["parentId"] == other
    assert "no compartment" in refused(run, "compartment", "remove", compartment["id"])
    done(run, "user", "remove", "administrator", "--tenancy", "other")
    done(run, "compartment", "remove", "speech", "--tenancy", "other")
    done(run, "tenancy", "remove", "other")
    assert set(store.directory().tenancies) == {it["id"] for it in listed(run, "tenancy", "list")}


def test_lists_are_tables_or_json(run: Run, home: Home) -> None:
    """JSON has the OCIDs that names stand for; a table says when there is nothing."""
    (policy,) = listed(run, "policy", "list")
    assert (policy["group"], policy["verb"], policy["where"]) == (
        "Administrators",
        "manage",
        "tenancy",
    )
    assert policy["compartmentId"] == home.tenancy_id
    (group,) = listed(run, "group", "list")
    assert group["users"] == ["administrator"]
    assert "Administrators  administrator" in done(run, "group", "list")
    assert home.compartment_id in done(run, "compartment", "list")
    done(run, "user", "add", "backend")
    assert done(run, "key", "list", "backend") == "None."
    assert listed(run, "key", "list", "backend") == []


def test_a_list_tells_statements_as_things_are_named_now(run: Run, home: Home) -> None:
    """As it was written stands beside it."""
    statement = f"Allow any-user to read {FAMILY} in compartment speech"
    done(run, "policy", "add", "reading", statement)
    done(run, "compartment", "rename", "speech", "Voice")
    reading = listed(run, "policy", "list")[1]
    assert (reading["group"], reading["where"]) == ("any-user", "Voice")
    assert reading["statement"] == statement


def test_a_generated_key_signs_with_the_profile_that_is_printed(
    run: Run, home: Home, store: SqlStore, tmp_path: Path
) -> None:
    """The files are their owner's alone; the printed profile is one our client reads."""
    user = done(run, "user", "add", "backend")
    result = run("iam", "key", "add", "backend", "--generate", tmp_path)
    config = tmp_path / "config"
    config.write_text(result.stdout)
    profile = read_profile(config, "backend")
    assert profile.key_file == tmp_path / "backend.pem"
    assert (profile.user, profile.tenancy) == (user, home.tenancy_id)
    assert fingerprint(load_private_key(profile).public_key()) == profile.fingerprint
    assert profile.fingerprint in result.stderr
    for name in ("backend.pem", "backend_public.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    known = store.directory()
    key = find_api_key(known, home.tenancy_id, user, profile.fingerprint, datetime.now(UTC))
    assert key is not None
    assert key.public_pem == (tmp_path / "backend_public.pem").read_text()


@pytest.mark.parametrize("taken", ["backend.pem", "backend_public.pem"])
def test_no_key_file_is_overwritten(run: Run, home: Home, tmp_path: Path, taken: str) -> None:
    """Neither file of the pair; what was begun is taken away."""
    (tmp_path / taken).write_text("mine")
    done(run, "user", "add", "backend")
    told = refused(run, "key", "add", "backend", "--generate", tmp_path / "backend.pem")
    assert taken in told
    assert "File exists" in told
    assert (tmp_path / taken).read_text() == "mine"
    assert len(list(tmp_path.glob("*.pem"))) == 1
    assert listed(run, "key", "list", "backend") == []


def test_a_public_key_is_taken_from_a_file(run: Run, home: Home, tmp_path: Path) -> None:
    """The profile has its fingerprint and leaves the private key's place open; once is enough."""
    key = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    path = tmp_path / "public.pem"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    parser = ConfigParser()
    parser.read_string(done(run, "key", "add", "administrator", "--public-key", path))
    assert parser["administrator"]["fingerprint"] == fingerprint(key)
    assert len(listed(run, "key", "list", "administrator")) == 2
    again = refused(run, "key", "add", "administrator", "--public-key", path)
    assert again == f"there is a key {fingerprint(key)} already"


def _public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_other_files_are_no_public_keys(run: Run, home: Home, tmp_path: Path) -> None:
    """Short keys, other algorithms, private keys, and what is no key at all."""
    short = generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    private = short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "key.pem"
    for content, why in [
        (_public(short), "has 1024 bits; it must have at least 2048"),
        (_public(generate_ec(SECP256R1())), "holds no RSA key"),
        (private, "holds no public key in PEM"),
        (b"", "holds no public key in PEM"),
        (None, "No such file or directory"),
    ]:
        path.unlink() if content is None else path.write_bytes(content)
        assert refused(run, "key", "add", "administrator", "--public-key", path).endswith(why)


def test_a_bearer_key_is_shown_once(run: Run, home: Home, store: SqlStore) -> None:
    """Standard output has it alone; the home does not hold it anywhere."""
    result = run("iam", "key", "add", "administrator", "--bearer", "--expires", "12h")
    key_id, secret = parse_bearer_key(result.stdout.rstrip("\n"))
    now = datetime.now(UTC)
    key = find_bearer_key(store.directory(), key_id, secret, now)
    assert key is not None
    assert key.user_id == home.user_id
    assert key.expires_at is not None
    assert timedelta(hours=11) < key.expires_at - now <= timedelta(hours=12)
    assert key_id in result.stderr
    assert secret not in result.stderr + done(run, "key", "list", "--json")
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in files)
    assert secret not in str(store.audit())
    assert key.sha256 not in str(store.audit())


def test_keys_are_disabled_enabled_and_removed_one_by_one(
    run: Run, home: Home, store: SqlStore
) -> None:
    """A user may have several, and the others stay as they are."""
    texts = [done(run, "key", "add", "administrator", "--bearer") for _ in range(2)]
    (one, secret), (two, _) = (parse_bearer_key(text) for text in texts)

    def states() -> dict[str, str]:
        return {it["key"]: it["state"] for it in listed(run, "key", "list")}

    def is_known() -> bool:
        return find_bearer_key(store.directory(), one, secret, datetime.now(UTC)) is not None

    first = next(it["key"] for it in listed(run, "key", "list") if it["kind"] == "api")
    done(run, "key", "disable", "administrator", one)
    assert states() == {first: "active", one: "disabled", two: "active"}
    assert not is_known()
    done(run, "key", "enable", home.user_id, one)
    assert is_known()
    done(run, "key", "disable", "administrator", first)
    assert states()[first] == "disabled"
    done(run, "key", "remove", "administrator", two)
    assert set(states()) == {first, one}
    assert "has no key" in refused(run, "key", "remove", "administrator", two)


def test_an_expired_key_is_listed_as_one(run: Run, store: SqlStore, home: Home) -> None:
    """It stays until it is removed."""
    key_id, _ = parse_bearer_key(done(run, "key", "add", "administrator", "--bearer"))
    key = store.directory().bearer_keys[key_id]
    store.write([type(key)(key.id, key.user_id, key.sha256, expires_at=NOW - timedelta(days=1))])
    (listed_,) = [it for it in listed(run, "key", "list") if it["kind"] == "bearer"]
    assert (listed_["state"], listed_["timeExpires"]) == ("expired", "2026-11-21T12:00:00+00:00")


@pytest.mark.parametrize(
    "options", [(), ("--bearer", "--generate", "x"), ("--public-key", "x", "--generate", "x")]
)
def test_a_key_is_of_one_kind(run: Run, home: Home, options: tuple[str, ...]) -> None:
    """A usage error otherwise."""
    result = run("iam", "key", "add", "administrator", *options)
    assert result.exit_code == 2
    assert "give one of" in result.stderr


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2026-12-31", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31T12:00", datetime(2026, 12, 31, 12, tzinfo=UTC)),
        ("2026-12-31T12:00+02:00", datetime(2026, 12, 31, 10, tzinfo=UTC)),
        ("2026-12-31T12:00Z", datetime(2026, 12, 31, 12, tzinfo=UTC)),
    ],
)
def test_expiries_are_spans_or_moments(text: str, at: datetime) -> None:
    """Of the clock given, in UTC."""
    assert parse_expiry(text, NOW) == at


@pytest.mark.parametrize(
    "text",
    ["", "90", "0d", "-1d", "1w", "9999999d", "soon", "2026-11-22", "0001-01-01T00:00+23:00"],
)
def test_other_expiries_are_usage_errors(text: str) -> None:
    """The past and what overflows the calendar among them."""
    with pytest.raises(typer.BadParameter, match="--expires"):
        parse_expiry(text, NOW)


def test_two_changes_at_a_time_do_not_undo_each_other(home: Home, store: SqlStore) -> None:
    """Each reads what the one before wrote, though a group is written as a whole."""
    with open_register(home.path) as register:
        tenancy = register.tenancy_id(None)
        users = [User(f"u{number}", f"u{number}", tenancy) for number in range(12)]
    store.write([*users, Group("g", "Crowd", tenancy)])

    def join(user: User) -> None:
        with open_register(home.path) as register:
            change = changes.add_member(register.directory, tenancy, "Crowd", user.name)
            register.write(change, NOW)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(join, users))
    assert store.directory().groups["g"].user_ids == {user.id for user in users}


@pytest.mark.parametrize(
    "command",
    [
        *(f"{kind} {verb}" for kind in ("tenancy", "user") for verb in ("add", "list", "remove")),
        *(f"compartment {verb}" for verb in ("add", "list", "rename", "move", "remove")),
        *(f"group {verb}" for verb in ("add", "list", "remove", "add-user", "remove-user")),
        *(f"key {verb}" for verb in ("add", "list", "disable", "enable", "remove")),
        *(f"policy {verb}" for verb in ("add", "list", "remove")),
    ],
)
def test_every_command_has_help(run: Run, command: str) -> None:
    """And takes the home to work on."""
    result = run("iam", *command.split(), "--help")
    assert result.exit_code == 0
    assert "--home" in result.output
