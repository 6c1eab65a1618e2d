"""The catalogue: rows that say nothing wrong, and which model is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from stapes.engines import registry
from stapes.engines.pocketsphinx import PocketSphinxEngine
from stapes.errors import ModelError
from stapes.models.catalogue import (
    ENGINES,
    EXTRAS,
    Need,
    advice,
    choose,
    find,
    missing_extra,
    parse_rows,
    pull_command,
    read_catalogue,
    suggest,
)

US = Need("ORACLE", "GENERIC", "en-US")
ROW = """
[models.mine]
engine = "sherpa"
model_type = "ORACLE"
languages = ["en-US"]
domains = ["GENERIC"]
sample_rate_hz = 16000
streaming = true
files = [{ path = "model.onnx" }]
"""


def test_every_shipped_row_can_be_pulled() -> None:
    """Names, repositories and files; a pinned row has every size and hash."""
    for name, row in read_catalogue().items():
        assert row.name == name
        assert row.summary
        assert row.is_built_in or (row.repository and row.files)
        assert row.revision is None or row.is_pinned
        if row.is_pinned:
            assert row.size is not None
            assert all(file.sha256 for file in row.files)


def test_every_word_error_rate_names_its_set_and_source() -> None:
    """And there are some."""
    rates = [row.wer for row in read_catalogue().values() if row.wer]
    assert len(rates) >= 4
    assert all(rate.set and rate.source for rate in rates)


def test_the_row_of_pocketsphinx_is_what_its_engine_can_do() -> None:
    """Without a file to pull."""
    row, able = read_catalogue()["pocketsphinx"], PocketSphinxEngine().capabilities
    assert row.needs == {
        Need(able.model_type, domain, language)
        for domain in able.model_domains
        for language in able.languages
    }
    assert (row.streaming, row.sample_rate_hz) == (able.streaming, able.sample_rate_hz)
    assert row.is_built_in
    assert not row.files


def test_a_star_is_every_language_of_the_model_type() -> None:
    """Auto among them."""
    needs = read_catalogue()["whisper-small"].needs
    assert {Need("WHISPER", "GENERIC", code) for code in ("auto", "en", "ja")} <= needs


def test_a_home_adds_rows_before_the_others_and_replaces_them(tmp_path: Path) -> None:
    """By name."""
    (tmp_path / "models.toml").write_text(ROW + ROW.replace("mine", "zipformer-en"))
    catalogue = read_catalogue(tmp_path)
    assert list(catalogue)[:2] == ["mine", "zipformer-en"]
    assert catalogue["zipformer-en"].repository is None
    assert set(read_catalogue(tmp_path / "none")) == set(read_catalogue())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ORACLE"', '"OTHER"', "mine: model_type"),
        ('"en-US"', '"english"', "no language of ORACLE is called english"),
        ('"model.onnx"', '"../model.onnx"', "mine: files.0.path"),
        ('"model.onnx"', '"/etc/passwd"', "mine: files.0.path"),
        ('"model.onnx"', '".cache/x"', "mine: files.0.path"),
        ("[models.mine]", '[models."../mine"]', "../mine: name"),
        ("[models.mine]", "[models.Mine]", "Mine: name"),
        ("streaming = true", "", "mine: model: Value error, a model that hears has sample_rate_hz"),
        ("streaming = true", 'role = "marks"', "mine: role"),
        ('"sherpa"', '"whisper"\nrole = "punctuation"', "no model of whisper sets marks"),
        ("streaming = true", "streaming = true\nrevison = 1", "mine: revison"),
        ('[{ path = "model.onnx" }]', "[]", "a model has files"),
        ('"sherpa"', '"sherpaa"', "no engine is called sherpaa; there are: pocketsphinx, "),
        ('"sherpa"', '"whisper"', "a model of the engine whisper has the model_type WHISPER"),
        ("[models.mine]", "[models.mine", "cannot be read"),
    ],
)
def test_a_wrong_row_is_named_with_its_field(old: str, new: str, said: str) -> None:
    """And the file."""
    assert old in ROW
    with pytest.raises(ModelError) as caught:
        parse_rows(ROW.replace(old, new), "models.toml")
    assert "models.toml" in str(caught.value)
    assert said in str(caught.value)


def test_a_models_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "models.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"models\.toml"):
        read_catalogue(tmp_path)


def test_the_first_in_the_catalogue_is_chosen_and_pocketsphinx_last() -> None:
    """A model of no row comes between."""
    catalogue = read_catalogue()
    serving = {name: catalogue[name].needs for name in ("pocketsphinx", "zipformer-en-20m")}
    assert choose(serving, catalogue)[US] == "zipformer-en-20m"
    assert choose({**serving, "zipformer-en": [US]}, catalogue)[US] == "zipformer-en"
    assert choose({"pocketsphinx": [US], "gone": [US]}, catalogue)[US] == "gone"
    both = choose({"whisper-tiny": catalogue["whisper-tiny"].needs, **serving}, catalogue)
    assert both[Need("WHISPER", "GENERIC", "de")] == "whisper-tiny"
    assert both[Need("ORACLE", "GENERIC", "en-GB")] == "zipformer-en-20m"


def test_what_is_suggested_serves_the_need_and_is_no_giant() -> None:
    """None where nothing serves."""
    catalogue = read_catalogue()
    german = suggest(catalogue, Need("WHISPER", "GENERIC", "de"))
    assert german is not None
    assert (german.name, (german.size or 0) < 10**9) == ("whisper-small", True)
    assert suggest(catalogue, Need("ORACLE", "MEDICAL", "en-US")) is None


def test_advice_is_given_only_where_pocketsphinx_is_alone() -> None:
    """It is one line with the command."""
    catalogue = read_catalogue()
    line = advice(["pocketsphinx"], catalogue) or ""
    assert "stapes models pull zipformer-en" in line
    assert "\n" not in line
    assert advice(["pocketsphinx", "sherpa"], catalogue) is None
    assert advice(["scripted"], catalogue) is None


def test_a_missing_engine_is_part_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra has the engine's name."""
    row = find(read_catalogue(), "zipformer-en")
    monkeypatch.setitem(EXTRAS, "sherpa", "no_such_module")
    assert missing_extra(row) == "sherpa"
    assert pull_command(row).startswith("pip install 'stapes[sherpa]' && stapes models pull")


def test_a_name_that_is_not_there_is_an_error() -> None:
    """It says where the names are."""
    with pytest.raises(ModelError, match="stapes models list"):
        find(read_catalogue(), "nonesuch")


def test_a_row_may_name_every_engine_there_is() -> None:
    """Those of the registry."""
    assert sorted(ENGINES) == sorted(registry.ENGINES)
