"""The engines by name. What an engine needs is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from stapes.engines.port import Engine
from stapes.errors import EngineError


def _pocketsphinx(_model: Path | None) -> Engine:
    from stapes.engines.pocketsphinx import PocketSphinxEngine

    return PocketSphinxEngine()


def _scripted(_model: Path | None) -> Engine:
    from stapes.engines.scripted import ScriptedEngine

    return ScriptedEngine()


def _whisper(model: Path | None) -> Engine:
    from stapes.engines.whisper import WhisperEngine

    if model is None:
        raise EngineError("the engine whisper needs the folder of a model")
    return WhisperEngine(model)


ENGINES: Mapping[str, Callable[[Path | None], Engine]] = MappingProxyType(
    {"pocketsphinx": _pocketsphinx, "scripted": _scripted, "whisper": _whisper}
)


def load_engine(name: str, model: Path | None = None) -> Engine:
    """Load an engine, with the model in the folder ``model`` where it needs one.

    Raises `EngineError` when there is none of this name or it cannot load.
    """
    try:
        loader = ENGINES[name]
    except KeyError:
        known = ", ".join(sorted(ENGINES))
        raise EngineError(f"there is no engine {name!r}; the engines are: {known}") from None
    return loader(model)
