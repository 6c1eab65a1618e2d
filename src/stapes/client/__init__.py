"""The client that people import: profiles, tokens and streams."""

from stapes.client.profile import Profile, read_profile
from stapes.client.stream import Result, Stream, open_stream
from stapes.client.tokens import mint_token

__all__ = ["Profile", "Result", "Stream", "mint_token", "open_stream", "read_profile"]
