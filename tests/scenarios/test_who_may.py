"""Every operation of REST by every verb: who may, and who learns nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest

from stapes.identity.model import Verb
from stapes.store.port import SessionFilter
from stapes.store.records import IdentityRemoved, StreamClosed, StreamOpened
from tests.conftest import running_server
from tests.scenarios.rest import SESSIONS, People, Rest, administrator, ocid
from tests.waiting import PATIENCE_S

TOKEN = "/20220101/actions/realtimeSessionToken"
USAGE = "/20220101/realtimeSessionUsage"
YEARS = "timeFrom=2020-01-01T00:00:00Z&timeTo=9000-01-01T00:00:00Z"


@dataclass
class Town:
    """A tenancy with a compartment below another one, and somebody for every verb in each."""

    rest: Rest
    people: People
    upper: str
    lower: str
    beside: str
    somebody: dict[str, Rest] = field(default_factory=dict)

    def session(self, compartment_id: str, **more: object) -> str:
        """A session that the administrator made there."""
        made: str = self.rest.token(compartmentId=compartment_id, **more)["sessionId"]
        return made


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with (
        running_server(tmp_path_factory.mktemp("town") / "home") as server,
        administrator(server) as rest,
    ):
        people = People(rest)
        upper = people.compartment("upper")
        lower = people.compartment("lower", upper)
        town = Town(rest, people, upper, lower, people.compartment("beside"))
        root = server.home.tenancy_id
        for verb in Verb:
            town.somebody[f"{verb} upper"] = people.add(f"{verb} upper", verb, upper)
            town.somebody[f"{verb} root"] = people.add(f"{verb} root", verb, root)
        town.somebody["nobody"] = people.add("nobody", None, "")
        abroad = people.tenancy("abroad")
        town.somebody["manage abroad"] = people.add("manage abroad", Verb.MANAGE, abroad, abroad)
        yield town


Ask = Callable[[Town, Rest, str], httpx.Response]


def _list(town: Town, who: Rest, place: str) -> httpx.Response:
    return who.call("GET", f"{SESSIONS}?compartmentId={place}")


def _mint(town: Town, who: Rest, place: str) -> httpx.Response:
    return who.call("POST", TOKEN, {"compartmentId": place})


def _of_session(method: str, more: str) -> Ask:
    def ask(town: Town, who: Rest, place: str) -> httpx.Response:
        return who.call(method, f"{SESSIONS}/{town.session(place)}{more}")

    return ask


WEAKEST: dict[str, tuple[Ask, Verb, int]] = {
    "list": (_list, Verb.INSPECT, 200),
    "get": (_of_session("GET", ""), Verb.READ, 200),
    "transcript": (_of_session("GET", "/transcript"), Verb.READ, 200),
    "receipt": (_of_session("GET", "/receipt"), Verb.READ, 200),
    "mint": (_mint, Verb.USE, 200),
    "delete transcript": (_of_session("DELETE", "/transcript"), Verb.MANAGE, 204),
    "revoke": (_of_session("POST", "/actions/revoke"), Verb.MANAGE, 200),
}
STRENGTH = list(Verb)


def assert_not_found(answer: httpx.Response) -> None:
    assert answer.status_code == 404, answer.text
    assert answer.json() == {
        "code": "NotAuthorizedOrNotFound",
        "message": "Authorization failed or the requested resource was not found.",
    }


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("operation", WEAKEST)
def test_an_operation_needs_its_verb_in_the_compartment_or_above(
    town: Town, operation: str, verb: Verb
) -> None:
    """A weaker verb is told that there is nothing; so is anybody in a compartment beside."""
    ask, weakest, status = WEAKEST[operation]
    is_enough = STRENGTH.index(verb) >= STRENGTH.index(weakest)
    for who, place, may in (
        (f"{verb} upper", town.upper, is_enough),
        (f"{verb} upper", town.lower, is_enough),
        (f"{verb} upper", town.beside, False),
        (f"{verb} upper", town.rest.served.home.tenancy_id, False),
        (f"{verb} root", town.lower, is_enough),
        (f"{verb} root", town.rest.served.home.tenancy_id, is_enough),
    ):
        answer = ask(town, town.somebody[who], place)
        if may:
            assert answer.status_code == status, (who, place, answer.text)
        else:
            assert_not_found(answer)


@pytest.mark.parametrize("who", ["nobody", "manage abroad"])
@pytest.mark.parametrize("operation", WEAKEST)
def test_nobody_without_a_grant_learns_that_a_session_exists(
    town: Town, operation: str, who: str
) -> None:
    """Nor does somebody who manages another tenancy: the answer is that of a session never made."""
    ask, _, _ = WEAKEST[operation]
    for place in (town.upper, town.lower, town.rest.served.home.tenancy_id):
        assert_not_found(ask(town, town.somebody[who], place))


@pytest.mark.parametrize(("method", "more"), [("GET", ""), ("POST", "/actions/revoke")])
def test_a_session_that_never_was_is_404_for_everybody(town: Town, method: str, more: str) -> None:
    """For those who may do everything too."""
    for who in town.somebody.values():
        absent = ocid("aispeechrealtimesession", 31)
        assert_not_found(who.call(method, f"{SESSIONS}/{absent}{more}"))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", SESSIONS),
        ("GET", f"{SESSIONS}/x"),
        ("GET", f"{SESSIONS}/x/transcript"),
        ("DELETE", f"{SESSIONS}/x/transcript"),
        ("GET", f"{SESSIONS}/x/receipt"),
        ("POST", f"{SESSIONS}/x/actions/revoke"),
        ("POST", f"{SESSIONS}/actions/revokeByUser"),
        ("POST", f"{SESSIONS}/actions/revokeByTag"),
        ("GET", "/metrics"),
        ("GET", USAGE),
    ],
)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer x", f"Bearer stapes_{'a' * 16}_{'s' * 43}"]
)
def test_whoever_is_not_known_is_401_before_anything_else(
    town: Town, method: str, target: str, authorization: str | None
) -> None:
    """Without a key, with none, with one that is wrong."""
    headers = {"authorization": authorization} if authorization else {}
    answer = town.rest.client.request(method, town.rest.served.url + target, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "NotAuthenticated")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", SESSIONS),
        ("DELETE", f"{SESSIONS}/x"),
        ("POST", f"{SESSIONS}/x/transcript"),
        ("GET", f"{SESSIONS}/x/actions/revoke"),
        ("POST", "/metrics"),
    ],
)
def test_another_method_is_405(town: Town, method: str, path: str) -> None:
    """Known path, wrong method."""
    assert town.rest.call(method, path).status_code == 405


# What speaks of more than one session


def test_a_list_without_a_compartment_needs_one_that_may_be_inspected(town: Town) -> None:
    """Whoever may inspect nothing is told that there is nothing."""
    assert_not_found(town.somebody["nobody"].call("GET", SESSIONS))
    assert town.somebody["inspect upper"].call("GET", SESSIONS).status_code == 200
    assert town.somebody["manage abroad"].get(SESSIONS) == {"items": []}


def test_usage_is_summed_where_the_caller_may_read(town: Town) -> None:
    """What was used elsewhere is in none of the sums."""
    store = town.rest.served.deployment.store
    for audio_ms, place in ((1, town.upper), (20, town.lower), (300, town.beside)):
        session_id = town.session(place)
        town.rest.served.deployment.writer.flush(PATIENCE_S)
        session = store.sessions(SessionFilter(session_id=session_id), datetime.now(UTC), limit=1)
        owner = (session[0].tenancy_id, place, session[0].user_id)
        now = datetime.now(UTC)
        store.claim_stream(StreamOpened(session_id, 1, *owner, now, {}, "scripted"))
        store.write([StreamClosed(session_id, 1, now, "peer", audio_ms, 0)])
    sums = {}
    for who, rest in town.somebody.items():
        answer = rest.call("GET", f"{USAGE}?by=user&{YEARS}")
        sums[who] = sum(it["audioInMs"] for it in answer.json().get("items", []))
        assert answer.status_code == (200 if sums[who] or who == "manage abroad" else 404)
    readers = ("read", "use", "manage")
    assert sums == {
        **dict.fromkeys(town.somebody, 0),
        **{f"{verb} upper": 21 for verb in readers},
        **{f"{verb} root": 321 for verb in readers},
    }


def test_figures_are_for_those_who_may_inspect_the_tenancy(town: Town) -> None:
    """A compartment of it is not enough."""
    for who, rest in town.somebody.items():
        answer = rest.call("GET", "/metrics")
        if who.endswith("root"):
            assert answer.status_code == 200
        elif who != "manage abroad":  # its own tenancy's, on the same server
            assert_not_found(answer)


def test_a_user_is_taken_back_by_those_who_manage_the_tenancy(town: Town) -> None:
    """Their tokens may be of any compartment; a user of another tenancy is not found."""
    body = {"userId": town.people.users["use upper"]}
    for who, rest in town.somebody.items():
        answer = rest.call("POST", f"{SESSIONS}/actions/revokeByUser", body)
        if who == "manage root":
            assert answer.status_code == 200
        else:
            assert_not_found(answer)
    foreign = {"userId": town.people.users["manage abroad"]}
    assert_not_found(town.rest.call("POST", f"{SESSIONS}/actions/revokeByUser", foreign))
    for unknown in (ocid("user", 31), "x", "a\0b", "' OR 1=1 --", "é" * 255):
        body = {"userId": unknown}
        assert_not_found(town.rest.call("POST", f"{SESSIONS}/actions/revokeByUser", body))


def test_a_user_who_was_removed_is_taken_back_all_the_same(town: Town) -> None:
    """What they opened may still be live."""
    gone = town.people.add("gone", Verb.USE, town.upper)
    session = gone.token(compartmentId=town.upper)["sessionId"]
    user_id = town.people.users["gone"]
    user = town.rest.served.deployment.known.directory.users[user_id]
    town.people.write(IdentityRemoved(user))
    answer = town.rest.post(f"{SESSIONS}/actions/revokeByUser", {"userId": user_id})
    assert answer["sessionCount"] == 1
    assert town.rest.get(f"{SESSIONS}/{session}")["lifecycleState"] == "REVOKED"


def test_a_tag_takes_back_what_the_caller_manages_and_nothing_else(town: Town) -> None:
    """Sessions with the tag in a compartment beside stay."""
    tag = {"freeformTags": {"who": "may"}}
    inside = [town.session(place, **tag) for place in (town.upper, town.lower)]
    outside = town.session(town.beside, **tag)
    body = {"key": "who", "value": "may"}
    for who in ("nobody", "use upper", "use root"):
        assert_not_found(town.somebody[who].call("POST", f"{SESSIONS}/actions/revokeByTag", body))
    abroad = town.somebody["manage abroad"].post(f"{SESSIONS}/actions/revokeByTag", body)
    assert abroad["sessionCount"] == 0
    assert town.somebody["manage upper"].post(f"{SESSIONS}/actions/revokeByTag", body) == {
        "sessionCount": 2,
        "liveSessionCount": 0,
    }
    states = [town.rest.get(f"{SESSIONS}/{it}")["lifecycleState"] for it in (*inside, outside)]
    assert states == ["REVOKED", "REVOKED", "ISSUED"]


@pytest.mark.parametrize(
    ("action", "body", "code", "name"),
    [
        ("revokeByUser", {}, "MissingParameter", "userId"),
        ("revokeByUser", {"userId": None}, "MissingParameter", "userId"),
        ("revokeByUser", {"user_id": "x"}, "MissingParameter", "userId"),
        ("revokeByUser", {"userId": 1}, "InvalidParameter", "userId"),
        ("revokeByUser", {"userId": ""}, "InvalidParameter", "userId"),
        ("revokeByUser", [], "CannotParseRequest", ""),
        ("revokeByTag", {"key": "a"}, "MissingParameter", "value"),
        ("revokeByTag", {"value": "a"}, "MissingParameter", "key"),
        ("revokeByTag", {"key": "a b", "value": ""}, "InvalidParameter", "key"),
        ("revokeByTag", {"key": "a\0", "value": ""}, "InvalidParameter", "key"),
        ("revokeByTag", {"key": "a", "value": "v" * 257}, "InvalidParameter", "value"),
        ("revokeByTag", {"key": "a", "value": ["v"]}, "InvalidParameter", "value"),
    ],
)
def test_a_body_that_says_nothing_is_400_and_names_the_field(
    town: Town, action: str, body: object, code: str, name: str
) -> None:
    """As everywhere."""
    answer = town.rest.call("POST", f"{SESSIONS}/actions/{action}", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert name in answer.json()["message"]


def test_a_session_whose_compartment_is_gone_belongs_to_the_root(town: Town) -> None:
    """Else nobody could take it back; those of the compartment have no say any more."""
    passing = town.people.compartment("passing", town.upper)
    session = town.session(passing)
    compartment = town.rest.served.deployment.known.directory.compartments[passing]
    town.people.write(IdentityRemoved(compartment))
    target = f"{SESSIONS}/{session}/actions/revoke"
    assert_not_found(town.somebody["manage upper"].call("POST", target))
    assert town.somebody["manage root"].post(target)["sessionCount"] == 1
