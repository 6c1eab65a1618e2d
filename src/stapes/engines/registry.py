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


def _scripted(model: Path | None) -> Engine:
    from stapes.engines.scripted import ScriptedEngine, read_capabilities

    return ScriptedEngine() if model is None else ScriptedEngine(able=read_capabilities(model))


def _sherpa(model: Path | None) -> Engine:
    from stapes.engines.sherpa import SherpaEngine

    return SherpaEngine(_given(model, "sherpa"))


def _whisper(model: Path | None) -> Engine:
    from stapes.engines.whisper import WhisperEngine

    return WhisperEngine(_given(model, "whisper"))


def _given(model: Path | None, engine: str) -> Path:
    if model is None:
        raise EngineError(f"the engine {engine} needs the folder of a model")
    return model


ENGINES: Mapping[str, Callable[[Path | None], Engine]] = MappingProxyType(
    {
        "pocketsphinx": _pocketsphinx,
        "scripted": _scripted,
        "sherpa": _sherpa,
        "whisper": _whisper,
    }
)


def load_engine(name: str, model: Path | None = None) -> Engine:
    """Load an engine; ``model`` is the folder of its model, for those that bring none.

    Raises `EngineError` when there is none of this name or it cannot load.
    """
    try:
        loader = ENGINES[name]
    except KeyError:
        known = ", ".join(sorted(ENGINES))
        raise EngineError(f"there is no engine {name!r}; the engines are: {known}") from None
    return loader(model)
