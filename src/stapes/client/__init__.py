"""The client that people import: sessions that survive cuts, tokens, profiles."""

from stapes.client.connecting import connect
from stapes.client.profile import Profile, read_profile
from stapes.client.reconnecting import Reconnect
from stapes.client.results import Final, Partial, Result
from stapes.client.session import Session
from stapes.client.synchronous import SyncSession, connect_sync
from stapes.client.tokens import mint_token
from stapes.protocol.words import Word

__all__ = [
    "Final",
    "Partial",
    "Profile",
    "Reconnect",
    "Result",
    "Session",
    "SyncSession",
    "Word",
    "connect",
    "connect_sync",
    "mint_token",
    "read_profile",
]
