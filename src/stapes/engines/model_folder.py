"""A folder with a model in it, and the record that says what it is.

The record is ``stapes-model.toml``, beside the files of the model. Of it an engine reads::

    engine = "sherpa"                # which engine loads it
    languages = ["en-US"]            # as on the wire; "*" is every language
    domains = ["GENERIC"]
    model_type = "ORACLE"            # the modelType of the wire that it answers
    sample_rate_hz = 16000

    [[files]]
    path = "encoder.int8.onnx"       # within the folder

    [sherpa]                         # what this engine alone wants to know; may be left out
    delay_ms = 120

Whatever else is in it (name, licence, where it came from) is for people and for who installed it.
A model that sets marks in what others hear has ``role = "punctuation"``, and no sample rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tomllib import TOMLDecodeError, loads
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stapes.errors import EngineError

RECORD = "stapes-model.toml"
EVERY_LANGUAGE = "*"
HEARING = "hearing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """What a record says. ``files`` are there; ``options`` are the engine's own table."""

    engine: str
    languages: tuple[str, ...]
    domains: tuple[str, ...]
    model_type: str
    sample_rate_hz: int = 0
    role: str = HEARING
    files: tuple[Path, ...]
    options: Mapping[str, Any]

    def speaks(self, language: str) -> bool:
        """Whether the model knows a language; tags know no case."""
        known = {name.casefold() for name in self.languages}
        return EVERY_LANGUAGE in known or language.casefold() in known

    def find(self, pattern: str) -> Path | None:
        """The first file whose name matches, such as ``encoder*.onnx``."""
        return next((path for path in self.files if path.match(pattern)), None)

    def file(self, pattern: str) -> Path:
        """`find`. Raises `EngineError` when there is none."""
        if (path := self.find(pattern)) is None:
            raise EngineError(f"the model has no file {pattern}")
        return path


_ADAPTER = TypeAdapter(ModelFolder)


def read_model_folder(folder: Path, role: str = HEARING) -> ModelFolder:
    """Read the record of a folder.

    Raises `EngineError`, naming what is wrong: no record, one that cannot be read, one of a model
    with another role, a file that is not there or lies outside the folder.
    """
    path = folder / RECORD
    try:
        given = loads(path.read_text(encoding="utf-8"))
        files = [folder / file["path"] for file in given.get("files", ())]
        options = given.get(given.get("engine", ""), {})
        found = _ADAPTER.validate_python({**given, "files": files, "options": options})
    except OSError as error:
        raise EngineError(f"no model: {error}") from error
    except (TOMLDecodeError, UnicodeDecodeError, ValidationError, KeyError, TypeError) as error:
        raise EngineError(f"{path} is no record of a model: {error}") from error
    if found.role != role:
        raise EngineError(f"{path} is of a model for {found.role}, not for {role}")
    if role == HEARING and not found.sample_rate_hz:
        raise EngineError(f"{path} is no record of a model: it has no sample_rate_hz")
    for file in found.files:
        if not file.is_file() or ".." in file.parts:
            raise EngineError(f"the model has no file {file}")
    return found


def read_onnx_fields(path: Path) -> dict[str, str]:
    """The fields of an ONNX file's metadata. Raises `EngineError` when it cannot be loaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    except Exception as error:
        raise EngineError(f"the model could not be loaded: {error}") from error
    return dict(session.get_modelmeta().custom_metadata_map)
