"""Every setting once, with its default, unit and help.

Sources, strongest first: arguments, environment (``STAPES_*``), ``stapes.toml`` in the home
folder. An unknown key in the file is an error that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

DEFAULT_HOME = Path("~/.stapes")


class Settings(BaseSettings):
    """Settings of one server process."""

    model_config = SettingsConfigDict(env_prefix="STAPES_", extra="forbid", frozen=True)

    home: Path = Field(DEFAULT_HOME, description="folder of keys, database and configuration")
    host: str = Field("127.0.0.1", description="address to listen on; loopback unless you say")
    port: int = Field(8080, ge=0, le=65535, description="TCP port for REST and websocket; 0: any")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="log level")

    engine: str = Field(
        "pocketsphinx", description="engine that hears: pocketsphinx, scripted, sherpa"
    )
    model: Path | None = Field(None, description="folder of the model that the engine loads")
    streams: int | None = Field(
        None, ge=1, description="concurrent streams; default: cores / the engine's real-time factor"
    )
    warm_workers: int = Field(2, ge=1, le=64, description="worker processes kept ready")

    token_ttl_s: int = Field(3600, ge=30, le=86400, description="life of a session token, s")
    token_skew_s: int = Field(30, ge=0, le=300, description="clock skew allowed on tokens, s")
    token_issuer: str = Field("stapes", min_length=1, description="iss of the tokens")
    token_audience: str = Field("stapes-realtime", min_length=1, description="aud of the tokens")
    signature_skew_s: int = Field(300, ge=0, description="clock skew allowed on signatures, s")

    authentication_timeout_s: float = Field(10, gt=0, description="wait for the first message, s")
    idle_timeout_s: float = Field(300, gt=0, description="longest time without audio, s")
    longest_session_s: float = Field(4 * 3600, gt=0, description="longest session, s")
    ping_interval_s: float = Field(20, gt=0, description="between server pings, s")
    ping_timeout_s: float = Field(20, gt=0, description="wait for a pong, s")
    send_timeout_s: float = Field(
        20, gt=0, description="a peer that reads nothing for this is gone"
    )
    drain_timeout_s: float = Field(30, gt=0, description="longest wait for last words, s")

    longest_text_frame_bytes: int = Field(64 * 1024, gt=0, description="largest text frame")
    longest_audio_frame_bytes: int = Field(1024 * 1024, gt=0, description="largest audio frame")
    longest_body_bytes: int = Field(64 * 1024, gt=0, description="largest HTTP body")
    unheard_audio_s: float = Field(10, gt=0, description="audio ahead of the engine before pausing")


def load(**arguments: Any) -> Settings:
    """Settings from arguments, environment and the ``stapes.toml`` of the home they name.

    Arguments that are ``None`` count as not given. Raises `pydantic.ValidationError`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    home = Settings(**given).home.expanduser()

    class FromHome(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, home / "stapes.toml")
            return init_settings, env_settings, toml

    return FromHome(**{**given, "home": home})
