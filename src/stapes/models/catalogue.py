"""The catalogue: what is known of each model, and which of them is the better one.

Rows come from ``catalogue.toml`` of this package and from ``models.toml`` of the home, which adds
rows or replaces one of the same name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources, util
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stapes.errors import ModelError
from stapes.protocol.params import ORACLE_LANGUAGES, WHISPER_LANGUAGES

USERS_FILE = "models.toml"
"""The file of the home that adds rows."""

MODEST_BYTES = 1_000_000_000
"""A download that can be suggested to whoever asked for no certain model."""

EVERY_LANGUAGE = "*"
LANGUAGES = {"ORACLE": ORACLE_LANGUAGES, "WHISPER": WHISPER_LANGUAGES}
ENGINES = ("pocketsphinx", "scripted", "sherpa", "whisper")
EXTRAS = {"sherpa": "sherpa_onnx", "whisper": "faster_whisper"}
"""What an engine's extra brings: the extra has the engine's name, the value is its module."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """What a stream asks for: ``modelType``, ``modelDomain`` and ``languageCode`` of the wire."""

    model_type: str
    domain: str
    language: str


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or pure.parts[0].startswith("."):
        raise ValueError("a path inside the model's folder")
    return path


def needs(model_type: str, domains: Iterable[str], languages: Iterable[str]) -> frozenset[Need]:
    """Every language in every domain; a ``*`` among the languages is all of the model type."""
    listed = tuple(languages)
    known = LANGUAGES[model_type] if EVERY_LANGUAGE in listed else listed
    return frozenset(Need(model_type, *pair) for pair in product(domains, known))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """One file of a model; ``path`` as in the repository, size in bytes."""

    path: Annotated[str, AfterValidator(_inside)]
    size: Annotated[int, Field(ge=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class WordErrorRate(_Part):
    """A published word error rate: on which set, and where it was published."""

    percent: Annotated[float, Field(ge=0)]
    set: str
    source: str


class Model(_Part):
    """One row.

    ``languages`` and ``domains`` are as on the wire; ``*`` is every language. A model whose
    ``role`` is punctuation hears nothing: it sets marks in what others hear. ``sherpa`` is what
    that engine alone wants to know of the model.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    role: Literal["hearing", "punctuation"] = "hearing"
    engine: str
    model_type: Literal["ORACLE", "WHISPER"]
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    domains: Annotated[tuple[Literal["GENERIC", "MEDICAL"], ...], Field(min_length=1)]
    sample_rate_hz: Literal[8000, 16000] | None = None
    streaming: bool | None = None
    summary: str = ""
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: str | None = None
    licence: str | None = None
    files: tuple[ModelFile, ...] = ()
    sherpa: dict[str, str | int | float] = {}
    wer: WordErrorRate | None = None

    @model_validator(mode="after")
    def _check(self) -> Model:
        known = (*LANGUAGES[self.model_type], EVERY_LANGUAGE)
        for language in self.languages:
            if language not in known:
                raise ValueError(f"no language of {self.model_type} is called {language}")
        if self.engine not in ENGINES:
            raise ValueError(f"no engine is called {self.engine}; there are: {', '.join(ENGINES)}")
        if not self.files and not self.is_built_in:
            raise ValueError("a model has files")
        if self.hears and (self.sample_rate_hz is None or self.streaming is None):
            raise ValueError("a model that hears has sample_rate_hz and streaming")
        if not self.hears and self.engine != "sherpa":
            raise ValueError(f"no model of {self.engine} sets marks alone, those of sherpa do")
        if self.engine == "whisper" and self.model_type != "WHISPER":
            raise ValueError("a model of the engine whisper has the model_type WHISPER")
        return self

    @property
    def hears(self) -> bool:
        """Whether it is a recogniser."""
        return self.role == "hearing"

    @property
    def is_built_in(self) -> bool:
        """Whether it comes with Stapes, without a download."""
        return self.engine == "pocketsphinx"

    @property
    def is_pinned(self) -> bool:
        """Whether its revision is one commit."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    @property
    def size(self) -> int | None:
        """Bytes to download; None when the size of a file is not known."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    @cached_property
    def needs(self) -> frozenset[Need]:
        """All that it can serve."""
        return needs(self.model_type, self.domains, self.languages)


Catalogue = Mapping[str, Model]
"""Rows by name, the better ones first."""


def read_catalogue(home: Path | None = None) -> Catalogue:
    """The rows of Stapes and those of a home. Raises `ModelError` that names a wrong one."""
    shipped = resources.files("stapes.models").joinpath("catalogue.toml").read_text("utf-8")
    rows = _users_rows(home / USERS_FILE) if home else {}
    return rows | {
        name: row for name, row in parse_rows(shipped, "catalogue.toml").items() if name not in rows
    }


def _users_rows(path: Path) -> dict[str, Model]:
    try:
        return parse_rows(path.read_text("utf-8"), str(path)) if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def parse_rows(text: str, source: str) -> dict[str, Model]:
    """Rows of a catalogue file. Raises `ModelError` that names ``source``, row and field."""
    try:
        tables = tomllib.loads(text).get("models", {})
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{source} cannot be read: {error}") from error
    return {name: parse_model({"name": name, **row}, source) for name, row in tables.items()}


def parse_model(row: Mapping[str, Any], source: str) -> Model:
    """One row. Raises `ModelError` that names ``source``, the row and the field at fault."""
    try:
        return Model.model_validate(row)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, fault["loc"])) or "model"
        raise ModelError(f"{source}: {row.get('name')}: {field}: {fault['msg']}") from error


def find(catalogue: Catalogue, name: str) -> Model:
    """The row called ``name``. Raises `ModelError`."""
    try:
        return catalogue[name]
    except KeyError:
        raise ModelError(f"there is no model {name!r}; see `stapes models list`") from None


def ranked(names: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Names of models, the better ones first: as they stand in the catalogue.

    One that stands there no more comes last, but before what comes with Stapes.
    """
    places = {name: place for place, name in enumerate(catalogue)}

    def rank(name: str) -> tuple[bool, int, str]:
        return (
            name in catalogue and catalogue[name].is_built_in,
            places.get(name, len(places)),
            name,
        )

    return sorted(names, key=rank)


def choose(serving: Mapping[str, Iterable[Need]], catalogue: Catalogue) -> dict[Need, str]:
    """The best model for each need, of those in ``serving``: names with the needs they serve."""
    chosen: dict[Need, str] = {}
    for name in reversed(ranked(serving, catalogue)):
        chosen |= dict.fromkeys(serving[name], name)
    return chosen


def suggest(catalogue: Catalogue, need: Need) -> Model | None:
    """The best model to install for ``need``, of a modest size if there is one."""
    fitting = [
        row for row in catalogue.values() if row.hears and need in row.needs and not row.is_built_in
    ]
    modest = [row for row in fitting if (row.size or 0) <= MODEST_BYTES]
    return next(iter(modest + fitting), None)


def missing_extra(model: Model) -> str | None:
    """The extra that has to be installed before the model can be used; None when none has."""
    module = EXTRAS.get(model.engine)
    return model.engine if module and util.find_spec(module) is None else None


def pull_command(model: Model) -> str:
    """What to type to have a model, its engine's extra included where that is missing."""
    extra = missing_extra(model)
    first = f"pip install 'stapes[{extra}]' && " if extra else ""
    return f"{first}stapes models pull {model.name}"


def advice(engines: Iterable[str], catalogue: Catalogue) -> str | None:
    """One line on how to hear better, when nothing but PocketSphinx hears; else None."""
    better = suggest(catalogue, Need("ORACLE", "GENERIC", "en-US"))
    if set(engines) != {"pocketsphinx"} or better is None:
        return None
    return f"PocketSphinx alone hears, and poorly. For better words: {pull_command(better)}"
