"""Stapes: an open, self-hosted realtime speech service, wire-compatible with OCI AI Speech."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken

__version__ = "0.1.0"
__all__ = ["CreateRealtimeSessionTokenDetails", "RealtimeSessionToken"]

# Loaded on first use, so that `import stapes` costs next to nothing.
_HOMES = {
    "CreateRealtimeSessionTokenDetails": "stapes.protocol.resources",
    "RealtimeSessionToken": "stapes.protocol.resources",
}


def __getattr__(name: str) -> Any:
    """A public name, from the module it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stapes' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
