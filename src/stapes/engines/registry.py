"""The engines by name. What an engine needs is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from stapes.engines.port import Engine
from stapes.errors import EngineError


def _pocketsphinx() -> Engine:
    from stapes.engines.pocketsphinx import PocketSphinxEngine

    return PocketSphinxEngine()


def _scripted() -> Engine:
    from stapes.engines.scripted import ScriptedEngine

    return ScriptedEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = MappingProxyType(
    {"pocketsphinx": _pocketsphinx, "scripted": _scripted}
)


def load_engine(name: str) -> Engine:
    """Load an engine. Raises `EngineError` when there is none of this name or it cannot load."""
    try:
        loader = ENGINES[name]
    except KeyError:
        known = ", ".join(sorted(ENGINES))
        raise EngineError(f"there is no engine {name!r}; the engines are: {known}") from None
    return loader()
