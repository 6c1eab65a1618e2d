"""The pools of several models: the best one serves, and what is missing is named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from stapes.engines.hearing import ListenerParams
from stapes.engines.model_folder import RECORD
from stapes.engines.port import HearingParams
from stapes.errors import EngineError, InvalidParameterError, ServiceUnavailableError
from stapes.models.catalogue import Catalogue, read_catalogue
from stapes.models.shelf import InstalledModel, read_record
from stapes.protocol.events import Event
from stapes.workers.pools import Pools
from stapes.workers.shares import Share
from tests.engines.models import PUNCTUATION
from tests.shelf import install
from tests.waiting import PATIENCE_S, is_running, until

CATALOGUE = read_catalogue()
POCKETSPHINX = InstalledModel(CATALOGUE["pocketsphinx"])


@asynccontextmanager
async def running(
    models: Sequence[InstalledModel], catalogue: Catalogue = CATALOGUE, **options: Any
) -> AsyncIterator[Pools]:
    """Pools that leave no process behind."""
    async with closing(await Pools.start(models, catalogue, warm=1, **options)) as pools:
        yield pools


@asynccontextmanager
async def closing(pools: Pools) -> AsyncIterator[Pools]:
    try:
        yield pools
    finally:
        pids = pools.worker_pids
        await pools.close()
        await until(lambda: not any(is_running(pid) for pid in pids))


def params(
    language: str = "en-US", model_type: str = "ORACLE", domain: str = "GENERIC"
) -> ListenerParams:
    """What a stream asks for."""
    hearing = HearingParams(language, model_type, domain)
    return ListenerParams("audio/raw;rate=16000", hearing, 0, 2000)


def ignore(_event: Event) -> None:
    """Post nowhere."""


async def test_each_stream_goes_to_the_best_model_for_it(tmp_path: Path) -> None:
    """The better one by the catalogue, another one for another type; PocketSphinx is not loaded."""
    models = [
        POCKETSPHINX,
        install(tmp_path, "zipformer-en-20m", "en-US", "en-GB"),
        install(tmp_path, "zipformer-en", "en-US"),
        install(tmp_path, "whisper-tiny", "de", "auto", model_type="WHISPER"),
    ]
    async with running(models) as pools:
        asked = [("en-US", "ORACLE"), ("en-GB", "ORACLE"), ("de", "WHISPER"), ("auto", "WHISPER")]
        found = [pools.model_for(HearingParams(*each)) for each in asked]
        assert found == ["zipformer-en", "zipformer-en-20m", "whisper-tiny", "whisper-tiny"]
        ears = [await pools.take(params(*each), ignore) for each in asked]
        assert (pools.live, pools.opened, len(pools.busy_pids)) == (4, 4, 3)
        for ear in ears:
            ear.release()
        assert pools.live == 0
        assert pools.problem is None
        assert pools.advice() is None
        assert pools.shares == [
            Share("whisper-tiny", "scripted", "WHISPER", ("GENERIC",), ("auto", "de")),
            Share("zipformer-en", "scripted", "ORACLE", ("GENERIC",), ("en-US",)),
            Share("zipformer-en-20m", "scripted", "ORACLE", ("GENERIC",), ("en-GB",)),
        ]


async def test_models_that_set_marks_are_loaded_beside_those_that_hear(tmp_path: Path) -> None:
    """And never hear; the better one by the catalogue, and none that cannot be loaded."""
    made = [punctuation(tmp_path, name) for name in ("own", "punctuation-en")]
    broken = punctuation(tmp_path, "a-broken")
    (tmp_path / "a-broken" / "bpe.vocab").unlink()
    heard = install(tmp_path, "mine", "en-US", "en-GB")
    with capture_logs() as logs:
        async with running([*made, broken, heard]) as pools:
            assert [share.model for share in pools.shares] == ["mine"]
            (marked,) = pools.marked
            assert marked == Share("punctuation-en", "sherpa", "ORACLE", ("GENERIC",), ("en-US",))
    said = [(each["event"], each["model"]) for each in logs if "model" in each]
    assert sorted(said) == [
        ("hears", "mine"),
        ("model cannot be loaded", "a-broken"),
        ("punctuates", "punctuation-en"),
    ]


async def test_a_model_that_sets_marks_does_not_start_a_server(tmp_path: Path) -> None:
    """It hears nothing."""
    with pytest.raises(EngineError, match="no model can be loaded"):
        await Pools.start([punctuation(tmp_path, "own")], CATALOGUE)


def punctuation(shelf: Path, name: str) -> InstalledModel:
    """The model of marks and capitals, by another name."""
    folder = shelf / name
    shutil.copytree(PUNCTUATION / "edge", folder)
    record = (folder / RECORD).read_text()
    (folder / RECORD).write_text(record.replace('"edge"', f'"{name}"'))
    return InstalledModel(read_record(folder), folder)


async def test_the_log_says_which_model_serves_what(tmp_path: Path) -> None:
    """One line a model."""
    with capture_logs() as logs:
        async with running([install(tmp_path, "mine", "en-US", "en-GB")]):
            pass
    (said,) = [entry for entry in logs if entry["event"] == "hears"]
    assert (said["model"], said["languages"], said["domains"]) == ("mine", "en-GB en-US", "GENERIC")


@pytest.mark.parametrize("broken", ["no model", "no record"])
async def test_a_model_that_cannot_be_loaded_leaves_its_place_to_the_next(
    tmp_path: Path, broken: str
) -> None:
    """And is logged."""
    engine = "sherpa" if broken == "no model" else "scripted"
    best = install(tmp_path, "zipformer-en", "en-US", engine=engine)
    if broken == "no record":
        (tmp_path / "zipformer-en" / RECORD).unlink()
    with capture_logs() as logs:
        async with running([best, POCKETSPHINX]) as pools:
            assert pools.model_for(HearingParams()) == "pocketsphinx"
            assert "stapes models pull" in (pools.advice() or "")
    assert [e["model"] for e in logs if e["event"] == "model cannot be loaded"] == ["zipformer-en"]


async def test_a_model_serves_what_its_engine_really_can(tmp_path: Path) -> None:
    """Not all that its row says."""
    model = install(tmp_path, "zipformer-en", "en-US", "en-GB")
    record = tmp_path / "zipformer-en" / RECORD
    record.write_text(record.read_text().replace('"en-US", "en-GB"', '"en-GB"'))
    async with running([model, POCKETSPHINX]) as pools:
        assert [share.languages for share in pools.shares] == [("en-US",), ("en-GB",)]
        assert pools.model_for(HearingParams()) == "pocketsphinx"


async def test_a_model_that_serves_nothing_is_logged(tmp_path: Path) -> None:
    """Its row says one thing, and its engine another."""
    model = install(tmp_path, "zipformer-en", "en-US")
    record = tmp_path / "zipformer-en" / RECORD
    record.write_text(record.read_text().replace('"en-US"', '"fr-FR"'))
    with capture_logs() as logs:
        async with running([model, POCKETSPHINX]) as pools:
            assert [share.model for share in pools.shares] == ["pocketsphinx"]
    said = [entry["model"] for entry in logs if entry["event"] == "model serves nothing"]
    assert said == ["zipformer-en"]


async def test_a_server_without_any_model_that_loads_does_not_start(tmp_path: Path) -> None:
    """It says where to look."""
    with pytest.raises(EngineError, match="the log says why"):
        await Pools.start([install(tmp_path, "mine", "en-US", engine="sherpa")], CATALOGUE)


@pytest.mark.parametrize(
    ("asked", "named", "remedy"),
    [
        (params("fr-FR"), "languageCode fr-FR", "stapes models pull zipformer-fr"),
        (params("en", "WHISPER"), "modelType WHISPER", "stapes models pull whisper-small"),
        (params(domain="MEDICAL"), "modelDomain MEDICAL", None),
        (params("hi-IN"), "languageCode hi-IN", None),
    ],
)
async def test_what_is_not_installed_is_named_with_what_is_and_with_the_command(
    asked: ListenerParams, named: str, remedy: str | None
) -> None:
    """Without a command where the catalogue has none either."""
    async with running([POCKETSPHINX]) as pools:
        with pytest.raises(InvalidParameterError) as caught:
            await pools.take(asked, ignore)
    said = caught.value.public
    assert said.startswith(f"{named} is not installed on this server. Installed: ")
    assert "modelType ORACLE, modelDomain GENERIC, languageCode en-US." in said
    assert ("models pull" in said) == (remedy is not None)
    assert (remedy or "") in said


async def test_many_languages_are_named_in_part(tmp_path: Path) -> None:
    """The sentence stays short."""
    model = install(tmp_path, "mine", "*", model_type="WHISPER")
    async with running([model]) as pools:
        with pytest.raises(InvalidParameterError, match="and 88 more") as caught:
            pools.model_for(HearingParams("en-US"))
    assert len(caught.value.public) < 400


async def test_the_cores_are_shared_by_all_models(tmp_path: Path) -> None:
    """Streams of one leave less room for those of another."""
    models = [install(tmp_path, "a", "en-US"), install(tmp_path, "b", "en-GB")]
    async with running(models, streams=2) as pools:
        assert pools.limit == 2
        ears = [await pools.take(params(code), ignore) for code in ("en-US", "en-GB")]
        for code in ("en-US", "en-GB"):
            with pytest.raises(ServiceUnavailableError):
                await pools.take(params(code), ignore)
        ears[0].release()
        (await pools.take(params("en-GB"), ignore)).release()
        ears[1].release()


async def test_one_engine_can_be_forced() -> None:
    """It serves all that it can, and has its own name."""
    async with closing(await Pools.start_one("scripted")) as pools:
        assert pools.model_for(HearingParams(model_domain="MEDICAL")) == "scripted"
        assert [share.engine for share in pools.shares] == ["scripted"]
        assert pools.advice() is None
    with pytest.raises(EngineError, match="nonesuch"):
        await Pools.start_one("nonesuch")


async def test_a_problem_names_its_model(tmp_path: Path) -> None:
    """The template of one was killed."""
    async with running([install(tmp_path, "a", "en-US"), POCKETSPHINX]) as pools:
        psutil.Process(pools.worker_pids[0]).kill()
        async with asyncio.timeout(PATIENCE_S):
            while pools.problem is None:
                await asyncio.sleep(0)  # a problem may be over soon: no turn is to be missed
        assert pools.problem.startswith("a: ")
