"""Stapes: an open, self-hosted realtime speech service, wire-compatible with OCI AI Speech."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stapes.client import (
        Final,
        Partial,
        Profile,
        Reconnect,
        Result,
        Session,
        SyncSession,
        Word,
        connect,
        connect_sync,
        mint_token,
        read_profile,
    )
    from stapes.errors import (
        BufferOverflowError,
        ClientError,
        ConnectionLostError,
        ServerRefusedError,
        ServerUnreachableError,
        StapesError,
        TokenCallbackError,
    )
    from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken

__version__ = "0.1.0"
__all__ = [
    "BufferOverflowError",
    "ClientError",
    "ConnectionLostError",
    "CreateRealtimeSessionTokenDetails",
    "Final",
    "Partial",
    "Profile",
    "RealtimeSessionToken",
    "Reconnect",
    "Result",
    "ServerRefusedError",
    "ServerUnreachableError",
    "Session",
    "StapesError",
    "SyncSession",
    "TokenCallbackError",
    "Word",
    "connect",
    "connect_sync",
    "mint_token",
    "read_profile",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module it lives in (PEP 562).

    It is loaded on first use, so that ``import stapes`` costs next to nothing.
    """
    if name not in __all__:
        raise AttributeError(f"module 'stapes' has no attribute {name!r}")
    return getattr(import_module(_home(name)), name)


def _home(name: str) -> str:
    if name.endswith("Error"):
        return "stapes.errors"
    return "stapes.protocol.resources" if "RealtimeSessionToken" in name else "stapes.client"
