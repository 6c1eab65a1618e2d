"""A folder with a model in it, and the card that says what it is.

The card is ``stapes-model.toml``, beside the files of the model::

    engine = "sherpa"                # which engine loads it
    kind = "transducer"              # how: a word of that engine
    languages = ["en-US"]            # as on the wire
    domains = ["GENERIC"]            # default
    model_type = "ORACLE"            # default: the modelType of the wire that it answers
    sample_rate_hz = 16000           # default
    real_time_factor = 0.1           # default: CPU seconds for a second of speech on one core
    delay_ms = 0                     # default: how far its token times lie behind the sound

    [files]                          # by their part in the model; names are within the folder
    encoder = "encoder.int8.onnx"
    tokens = "tokens.txt"

    [options]                        # default: none; what else this kind of model wants to know
    modeling_unit = "bpe"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tomllib import TOMLDecodeError, loads
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from stapes.errors import EngineError

CARD = "stapes-model.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """What a card says. ``files`` are paths that exist."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    engine: str
    kind: str
    languages: tuple[str, ...]
    files: Mapping[str, Path]
    domains: tuple[str, ...] = ("GENERIC",)
    model_type: str = "ORACLE"
    sample_rate_hz: Annotated[int, Field(gt=0)] = 16000
    real_time_factor: Annotated[float, Field(gt=0)] = 0.1
    delay_ms: Annotated[int, Field(ge=0)] = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def file(self, part: str) -> str:
        """The path of a file. Raises `EngineError` when the card names none for this part."""
        if part not in self.files:
            raise EngineError(f"a {self.kind} model needs a file {part!r} in its {CARD}")
        return str(self.files[part])


_ADAPTER = TypeAdapter(ModelFolder)


def read_model_folder(folder: Path) -> ModelFolder:
    """Read the card of a folder.

    Raises `EngineError`, naming what is wrong: no card, a card that is none, a file that is not
    there or lies outside the folder.
    """
    path = folder / CARD
    try:
        given = loads(path.read_text(encoding="utf-8"))
        return _ADAPTER.validate_python({**given, "files": _files(folder, given)})
    except OSError as error:
        raise EngineError(f"no model: {error}") from error
    except (TOMLDecodeError, UnicodeDecodeError, ValidationError, AttributeError) as error:
        raise EngineError(f"{path} is no card of a model: {error}") from error


def _files(folder: Path, given: Mapping[str, Any]) -> dict[str, Path]:
    found = {part: folder / name for part, name in given.get("files", {}).items()}
    for path in found.values():
        if not path.is_file() or ".." in path.parts:
            raise EngineError(f"the model has no file {path}")
    return found
