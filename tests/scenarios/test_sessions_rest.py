"""``/20220101/realtimeSessions`` of a real server: lists, transcripts, receipts, figures."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stapes import RealtimeSessionToken
from stapes.accounts.receipts import verify
from stapes.accounts.usage import parse_grouping, sum_up
from stapes.errors import ReceiptError, SessionOpenError
from stapes.identity.model import Verb
from stapes.store.records import IdentityRemoved
from stapes.tokens.keys import parse_jwk
from tests.conftest import running_server
from tests.scenarios.rest import SESSIONS, People, Rest, administrator, ocid
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from tests.conftest import Served

Mint = Callable[..., RealtimeSessionToken]
PAGE = "opc-next-page"
USAGE = "/20220101/realtimeSessionUsage"


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """The administrator of a server that these tests share."""
    with (
        running_server(tmp_path_factory.mktemp("rest") / "home") as server,
        administrator(server) as rest,
    ):
        yield rest


@pytest.fixture(scope="module")
def people(rest: Rest) -> People:
    return People(rest)


@pytest.fixture
def place(people: People, request: pytest.FixtureRequest) -> str:
    """A compartment of the test's own."""
    return people.compartment(request.node.name)


def ids(answer: Any) -> list[str]:
    return [item["id"] for item in answer["items"]]


def pages(rest: Rest, query: str) -> list[list[str]]:
    """The ids of every page, to the last."""
    found, page = [], ""
    while True:
        answer = rest.call("GET", f"{SESSIONS}?{query}{page}")
        assert answer.status_code == 200, answer.text
        found.append(ids(answer.json()))
        if PAGE not in answer.headers:
            return found
        page = f"&page={answer.headers[PAGE]}"


async def heard(rest: Rest, peer: Any, token: Any, pcm: bytes) -> str:
    """Stream once with a token, to the end of the account; the text."""
    server = rest.served
    async with peer(server.ws_url) as client:
        await client.authenticate(RealtimeSessionToken.model_validate(token))
        text: str = await client.hear(pcm)
    await until(lambda: not len(server.deployment.live))
    return text


# Lists


def test_sessions_are_listed_newest_first_in_pages(rest: Rest, place: str) -> None:
    """Each once, whatever the page; the last page names no next one."""
    made = [rest.token(compartmentId=place)["sessionId"] for _ in range(7)][::-1]
    query = f"compartmentId={place}&limit="
    assert pages(rest, query + "3") == [made[:3], made[3:6], made[6:]]
    assert pages(rest, query + "7") == [made]
    assert pages(rest, query + "1000") == [made]
    assert pages(rest, query + "1") == [[each] for each in made]


def test_sessions_that_begin_while_pages_are_read_disturb_none(rest: Rest, place: str) -> None:
    """The second page goes on where the first one ended."""
    made = [rest.token(compartmentId=place)["sessionId"] for _ in range(4)][::-1]
    first = rest.call("GET", f"{SESSIONS}?compartmentId={place}&limit=2")
    rest.token(compartmentId=place)
    second = rest.get(f"{SESSIONS}?compartmentId={place}&limit=2&page={first.headers[PAGE]}")
    assert ids(first.json()) + ids(second) == made


def test_a_session_is_shown_with_what_it_was_made_for(rest: Rest, place: str) -> None:
    """By the names of OCI's API; nothing that does not apply, and never the token."""
    tags = {"freeformTags": {"a": "b"}, "definedTags": {"stapes": {"single-use": True}}}
    token = rest.token(compartmentId=place, **tags)
    (item,) = rest.get(f"{SESSIONS}?compartmentId={place}")["items"]
    created = datetime.fromisoformat(item.pop("timeCreated"))
    assert timedelta() <= datetime.now(UTC) - created < timedelta(minutes=1)
    expires = datetime.fromisoformat(item.pop("timeExpires"))
    assert timedelta(minutes=59) < expires - created <= timedelta(hours=1)
    assert item == {
        "id": token["sessionId"],
        "compartmentId": place,
        "userId": rest.served.home.user_id,
        "lifecycleState": "ISSUED",
        "streamCount": 0,
        **tags,
    }


def test_lists_are_filtered(rest: Rest, place: str) -> None:
    """By state, user, tag and time; all of them at once."""
    plain, tagged, gone = (
        rest.token(compartmentId=place, **more)["sessionId"]
        for more in ({}, {"freeformTags": {"room": "a=b"}}, {})
    )
    rest.post(f"{SESSIONS}/{gone}/actions/revoke")
    at = {it["id"]: it["timeCreated"] for it in rest.get(f"{SESSIONS}?limit=1000")["items"]}

    def listed(query: str) -> list[str]:
        return ids(rest.get(f"{SESSIONS}?compartmentId={place}&{query}"))

    assert listed("lifecycleState=ISSUED") == [tagged, plain]
    assert listed("lifecycleState=REVOKED") == [gone]
    assert listed("lifecycleState=LIVE") == []
    assert listed("freeformTag=room=a=b") == [tagged]
    assert listed("freeformTag=room=a") == []
    assert listed("freeformTag=room%25=a=b") == []
    assert listed(f"userId={rest.served.home.user_id}") == [gone, tagged, plain]
    assert listed(f"userId={ocid('user', 31)}") == []
    assert listed("userId=x%00y'--") == []
    assert listed(f"timeCreatedGreaterThanOrEqualTo={at[tagged]}") == [gone, tagged]
    assert listed(f"timeCreatedLessThan={at[tagged]}") == [plain]
    both = f"timeCreatedGreaterThanOrEqualTo={at[plain]}&timeCreatedLessThan={at[gone]}"
    assert listed(f"{both}&lifecycleState=ISSUED&freeformTag=room=a%3Db&unknown=1") == [tagged]


def test_without_a_compartment_all_that_may_be_inspected_are_listed(
    rest: Rest, people: People
) -> None:
    """Those below a compartment too, and no others."""
    upper = people.compartment("upper")
    lower = people.compartment("lower", upper)
    inspector = people.add("inspector of upper", Verb.INSPECT, upper)
    made = [rest.token(compartmentId=where)["sessionId"] for where in (lower, upper)][::-1]
    assert ids(inspector.get(SESSIONS)) == made
    assert set(made) < set(ids(rest.get(f"{SESSIONS}?limit=1000")))


async def test_sessions_outlast_their_compartment(
    rest: Rest, people: People, peer: Any, speech: bytes
) -> None:
    """Whoever may see the whole tenancy lists and sums them, and takes them back by their tag."""
    began, gone = datetime.now(UTC), people.compartment("gone")
    reader = people.add("reader of gone", Verb.READ, gone)
    token = rest.token(compartmentId=gone, freeformTags={"of": "gone"})
    await heard(rest, peer, token, speech)
    made = rest.served.deployment.store.directory().compartments[gone]
    people.write(IdentityRemoved(made))
    assert ids(rest.get(f"{SESSIONS}?freeformTag=of=gone")) == [token["sessionId"]]
    times = f"timeFrom={_utc(began)}&timeTo={_utc(datetime.now(UTC))}"
    (used,) = rest.get(f"{USAGE}?by=compartment&{times}")["items"]
    assert used["name"] == gone
    assert reader.call("GET", SESSIONS).status_code == 404
    abroad = people.tenancy("abroad")
    stranger = people.add("manager abroad", Verb.MANAGE, abroad, abroad)
    assert ids(stranger.get(SESSIONS)) == []
    assert stranger.get(f"{USAGE}?by=compartment&{times}")["items"] == []
    tag = {"key": "of", "value": "gone"}
    assert stranger.post(f"{SESSIONS}/actions/revokeByTag", tag)["sessionCount"] == 0
    assert rest.post(f"{SESSIONS}/actions/revokeByTag", tag)["sessionCount"] == 1


@pytest.mark.parametrize(
    ("query", "name"),
    [
        *[
            (f"limit={bad}", "limit")
            for bad in ("0", "1001", "-1", "x", "", "1.0", "1_0", "9" * 20)
        ],
        ("limit=1&limit=2", "limit"),
        *[
            (f"page={bad}", "page")
            for bad in (
                "",
                "x",
                "%00",
                "a" * 5000,
                "%F0%9F%98%80",
                "MSB4",
                "OTk5OTk5OTk5OTk5OTk5OTk5",
            )
        ],
        ("lifecycleState=live", "lifecycleState"),
        ("freeformTag=room", "freeformTag"),
        ("freeformTag==4", "freeformTag"),
        ("compartmentId=", "compartmentId"),
        (f"compartmentId={'x' * 256}", "compartmentId"),
        ("userId=", "userId"),
        *[
            (f"timeCreatedLessThan={bad}", "timeCreatedLessThan")
            for bad in ("1700000000", "2026-11-22", "2026-11-22T12:00:00", "2026-13-01T00:00:00Z")
        ],
    ],
)
def test_a_query_that_says_nothing_is_400_and_names_the_parameter(
    rest: Rest, query: str, name: str
) -> None:
    """InvalidParameter, by its JSON name."""
    answer = rest.call("GET", f"{SESSIONS}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert name in answer.json()["message"]


def test_a_page_is_taken_as_it_was_given_or_not_at_all(rest: Rest, place: str) -> None:
    """Another way to write the same place is refused."""
    for _ in range(2):
        rest.token(compartmentId=place)
    query = f"{SESSIONS}?compartmentId={place}&limit=1"
    page = rest.call("GET", query).headers[PAGE]
    assert rest.call("GET", f"{query}&page={page}").status_code == 200
    for spoiled in (page + "=", page[:-1], page + "A", page.swapcase(), "%20" + page):
        assert rest.call("GET", f"{query}&page={spoiled}").status_code == 400


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_are_times(rest: Rest, moment: str) -> None:
    """They are compared, and nothing overflows."""
    assert rest.call("GET", f"{SESSIONS}?timeCreatedLessThan={moment}").status_code == 200


# One session

STRANGE = [
    "x",
    "..",
    "%2e%2e",
    "%00",
    "'%20OR%201=1--",
    "a" * 10_000,
    "ocid1.aispeechrealtimesession.oc1..",
    "ocid1.aispeechrealtimesession.oc1.." + "a" * 59 + "%0a",
    "ocid1.aispeechrealtimesession.oc1.." + "A" * 60,
    "ocid1.user.oc1.." + "a" * 60,
    "%F0%9F%98%80",
    "%ff%fe",
]
OPERATIONS = [
    ("GET", ""),
    ("GET", "/transcript"),
    ("DELETE", "/transcript"),
    ("GET", "/receipt"),
    ("POST", "/actions/revoke"),
]


@pytest.mark.parametrize("session_id", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(("method", "more"), OPERATIONS)
def test_an_id_of_another_shape_is_404_and_never_asked_for(
    rest: Rest, session_id: str, method: str, more: str
) -> None:
    """NotAuthorizedOrNotFound, as for a session that is not there."""
    answer = _raw(rest, method, f"{SESSIONS}/{session_id}{more}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NotAuthorizedOrNotFound")


def test_a_slash_in_an_id_is_another_path(rest: Rest) -> None:
    """There is no such operation, so nobody is asked who they are."""
    answer = _raw(rest, "GET", f"{SESSIONS}/..%2f..%2fetc%2fpasswd")
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


def _raw(rest: Rest, method: str, target: str) -> Any:
    """A request whose path reaches the server as it stands, dots and escapes included."""
    place = urlsplit(rest.served.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    body = b"" if method == "POST" else None
    headers = rest._signed(method, target, body or b"")
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return SimpleNamespace(status_code=answer.status, json=lambda: content)


async def test_a_session_has_its_streams_with_what_they_used(
    rest: Rest, peer: Any, speech: bytes, place: str
) -> None:
    """One for each opening; the state follows."""
    token = rest.token(compartmentId=place)
    where = f"{SESSIONS}/{token['sessionId']}"
    await heard(rest, peer, token, speech)
    async with peer(rest.served.ws_url) as client:
        await client.authenticate(RealtimeSessionToken.model_validate(token))
        live = await asyncio.to_thread(rest.get, where)
        assert live["lifecycleState"] == "LIVE"
        assert "timeClosed" not in live["streams"][1]
        assert "endedBy" not in live["streams"][1]
        refused = await asyncio.to_thread(rest.call, "GET", f"{where}/receipt")
        assert (refused.status_code, refused.json()["code"]) == (409, SessionOpenError.code)
    await heard(rest, peer, token, speech[:32_000])
    closed = rest.get(where)
    assert closed["lifecycleState"] == "CLOSED"
    assert closed["streamCount"] == 3
    assert [it["stream"] for it in closed["streams"]] == [1, 2, 3]
    assert [it["audioInMs"] for it in closed["streams"]] == [len(speech) // 32, 0, 1000]
    assert closed["streams"][0]["words"] > 0
    assert closed["streams"][0]["endedBy"] == "peer"


async def test_a_transcript_has_every_final_with_its_words(
    rest: Rest, peer: Any, speech: bytes, place: str
) -> None:
    """By stream and number, as they were shown; deleted it is gone, and the receipt stays."""
    token = rest.token(compartmentId=place)
    where = f"{SESSIONS}/{token['sessionId']}"
    text = await heard(rest, peer, token, speech)
    again = await heard(rest, peer, token, speech[:48_000])
    shown = rest.get(f"{where}/transcript")
    assert shown["sessionId"] == token["sessionId"]
    assert [stream["stream"] for stream in shown["streams"]] == [1, 2]
    for stream, spoken in zip(shown["streams"], (text, again), strict=True):
        finals = stream["transcriptions"]
        assert " ".join(final["transcription"] for final in finals) == spoken
        assert [final["number"] for final in finals] == list(range(1, len(finals) + 1))
        words = [word for final in finals for word in final["words"]]
        assert [word["word"] for word in words] == spoken.split()
        assert all(0 <= word["confidence"] <= 1 for word in words)
        times = [time for it in words for time in (it["startTimeInMs"], it["endTimeInMs"])]
        assert times == sorted(times)
    before = rest.get(f"{where}/receipt")
    answer = rest.call("DELETE", f"{where}/transcript")
    assert (answer.status_code, answer.content) == (204, b"")
    assert rest.get(f"{where}/transcript")["streams"] == []
    assert rest.get(f"{where}/receipt") == before
    assert rest.call("DELETE", f"{where}/transcript").status_code == 204
    actions = [row.action for row in rest.served.deployment.store.audit()]
    assert actions.count("transcript.deleted") == 2


# Receipts


async def test_receipts_verify_with_the_published_keys_and_add_up_to_the_usage(
    rest: Rest, peer: Any, speech: bytes, place: str
) -> None:
    """To the millisecond and the word, by compartment and by tag."""
    began = datetime.now(UTC)
    signed = []
    for room, openings in (("4", 2), ("5", 1), ("4", 1), ("6", 0)):
        token = rest.token(compartmentId=place, freeformTags={"room": room})
        for opening in range(openings):
            await heard(rest, peer, token, speech[: 2 * (20_001 + 7000 * opening)])
        signed.append(rest.get(f"{SESSIONS}/{token['sessionId']}/receipt"))
    published = rest.get("/.well-known/receipt-keys.json")["keys"]
    keys = {key["kid"]: parse_jwk(key) for key in published}
    for each in signed:
        assert verify(each, keys) in keys
    rest.served.deployment.writer.flush(PATIENCE_S)
    closed = rest.served.deployment.store.closed_streams(began, datetime.now(UTC))
    ours = [stream for stream in closed if stream.compartment_id == place]
    for grouping, names in (("compartment", [place]), ("tag:room", ["4", "5"])):
        sums = {it.name: it for it in sum_up(ours, parse_grouping(grouping))}
        assert sorted(sums) == sorted(names)
        for name in names:
            of = [it for it in signed if name in {it["compartmentId"], it["freeformTags"]["room"]}]
            found = sums[name]
            assert found.audio_ms == sum(it["audioInMs"] for it in of)
            assert found.speech_ms == sum(it["speechInMs"] for it in of)
            assert found.wall_ms == sum(it["wallInMs"] for it in of)
            assert found.words == sum(it["words"] for it in of)
            assert found.streams == sum(len(it["streams"]) for it in of)
    times = f"timeFrom={_utc(began)}&timeTo={_utc(datetime.now(UTC))}"
    told = rest.get(f"{USAGE}?by=tag:room&{times}")["items"]
    for item in told:
        of = [it for it in signed if it["freeformTags"]["room"] == item["name"]]
        for amount in ("audioInMs", "speechInMs", "wallInMs", "words"):
            assert item[amount] == sum(it[amount] for it in of)
    assert [item["name"] for item in told] == ["4", "5"]
    assert {it["words"] > 0 for it in signed if it["streams"]} == {True}
    forged = {**signed[0], "audioInMs": signed[0]["audioInMs"] + 1}
    with pytest.raises(ReceiptError):
        verify(forged, keys)


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("query", "code", "name"),
    [
        ("unknown=1", "MissingParameter", "by"),
        ("by=user", "MissingParameter", "timeFrom"),
        ("by=tag:&timeFrom=x&timeTo=x", "InvalidParameter", "by"),
        ("by=tenancy&timeFrom=x&timeTo=x", "InvalidParameter", "by"),
        ("by=user&timeFrom=x&timeTo=x", "InvalidParameter", "timeFrom"),
        ("by=user&by=user&timeFrom=x&timeTo=x", "InvalidParameter", "by"),
    ],
)
def test_usage_that_is_asked_for_wrongly_is_400(
    rest: Rest, query: str, code: str, name: str
) -> None:
    """The parameter is named."""
    answer = rest.call("GET", f"{USAGE}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert name in answer.json()["message"]


def test_a_receipt_is_the_same_whenever_it_is_asked_for(rest: Rest, place: str) -> None:
    """One of a session that was never opened has no streams and sums of nothing."""
    where = f"{SESSIONS}/{rest.token(compartmentId=place)['sessionId']}/receipt"
    first = rest.call("GET", where)
    assert first.content == rest.call("GET", where).content
    assert (first.json()["streams"], first.json()["audioInMs"]) == ([], 0)


# Figures


async def test_figures_count_what_the_server_does(
    start_server: Any, peer: Any, speech: bytes
) -> None:
    """Tokens, streams, live sessions, refusals; as Prometheus reads them."""
    server: Served = start_server(tokens_per_minute_per_user=3)
    with administrator(server) as rest:

        def figures() -> dict[str, float]:
            answer = rest.call("GET", "/metrics")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            families = text_string_to_metric_families(answer.text)
            samples = [sample for family in families for sample in family.samples]
            return {"".join([it.name, *it.labels.values()]): it.value for it in samples}

        assert figures()["stapes_tokens_minted_total"] == 0
        token, _, _ = (rest.token() for _ in range(3))
        body = {"compartmentId": server.home.compartment_id}
        assert rest.call("POST", "/20220101/actions/realtimeSessionToken", body).status_code == 429
        await heard(rest, peer, token, speech)
        async with peer(server.ws_url) as client:
            await client.authenticate(RealtimeSessionToken.model_validate(token))
            found = await asyncio.to_thread(figures)
        assert found["stapes_tokens_minted_total"] == 3
        assert found["stapes_streams_opened_total"] == 2
        assert found["stapes_live_sessions"] == 1
        assert found["stapes_streams"] == 1
        assert found["stapes_streams_limit"] == server.deployment.pool.limit
        assert found["stapes_refused_totalTokenRateError"] == 1
        assert found["stapes_database_problem"] == 0
        assert found["stapes_records_waiting"] >= 0
