"""Every setting once, with its default, unit and help.

Sources, strongest first: arguments, environment (``STAPES_*``), ``stapes.toml`` in the home
folder. An unknown key in the file is an error that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
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
    database: SecretStr | None = Field(
        None, description="URL of a PostgreSQL database; default: `stapes.db` in the home"
    )
    host: str = Field("127.0.0.1", description="address to listen on; loopback unless you say")
    port: int = Field(8080, ge=0, le=65535, description="TCP port for REST and websocket; 0: any")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="log level")

    engine: str | None = Field(
        None,
        description="the one engine that hears; default: that of the best installed models",
    )
    model: Path | None = Field(
        None,
        description="the one installed model that hears; with `engine`, the folder that it loads",
    )
    models_folder: Path | None = Field(
        None, description="folder of installed models; default: `models` in the home"
    )
    streams: int | None = Field(
        None, ge=1, description="concurrent streams; default: cores / the engine's real-time factor"
    )
    warm_workers: int = Field(2, ge=1, le=64, description="worker processes kept ready")

    worker_timeout_s: float = Field(
        20, gt=0, description="a worker that says nothing for this while it should is replaced, s"
    )
    worker_memory_mb: int = Field(
        4096, gt=0, description="a worker whose memory grew by more than this is replaced, MB"
    )

    token_ttl_s: int = Field(3600, ge=30, le=86400, description="life of a session token, s")
    token_skew_s: int = Field(30, ge=0, le=300, description="clock skew allowed on tokens, s")
    token_issuer: str = Field("stapes", min_length=1, description="iss of the tokens")
    token_audience: str = Field("stapes-realtime", min_length=1, description="aud of the tokens")
    master_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="encrypts the token-signing keys; only as STAPES_MASTER_KEY, 16 signs or more",
    )
    signature_skew_s: int = Field(300, ge=0, description="clock skew allowed on signatures, s")

    live_sessions_per_tenancy: int = Field(
        10, ge=0, description="live sessions a tenancy may have, on all servers; 0: any number"
    )
    live_sessions_per_compartment: int = Field(
        0, ge=0, description="live sessions a compartment may have; 0: any number"
    )
    live_sessions_per_user: int = Field(
        0, ge=0, description="live sessions a user may have; 0: any number"
    )
    tokens_per_minute_per_user: int = Field(
        600, ge=0, description="tokens a user may mint in a minute; 0: any number"
    )
    failed_authentications_per_minute: int = Field(
        60, ge=0, description="failed authentications of an address in a minute; 0: any number"
    )
    unauthenticated_sockets: int = Field(
        512, ge=0, description="sockets that may wait to authenticate, in all; 0: any number"
    )
    unauthenticated_sockets_per_address: int = Field(
        64, ge=0, description="sockets of an address that may wait to authenticate; 0: any number"
    )
    trusted_proxies: str = Field(
        "", description="addresses whose X-Forwarded-For is believed, separated by commas"
    )

    authentication_timeout_s: float = Field(10, gt=0, description="wait for the first message, s")
    idle_timeout_s: float = Field(300, gt=0, description="longest time without audio, s")
    longest_session_s: float = Field(4 * 3600, gt=0, description="longest session, s")
    ping_interval_s: float = Field(20, gt=0, description="between server pings, s")
    ping_timeout_s: float = Field(20, gt=0, description="wait for a pong, s")
    send_timeout_s: float = Field(
        20, gt=0, description="a peer that reads nothing for this is gone"
    )
    resume_window_s: float = Field(
        120, gt=0, description="how long a stream waits for a client of the extension to return"
    )
    drain_window_s: float = Field(
        30, ge=0, description="how long live sessions may go on when the server is told to stop"
    )
    drain_timeout_s: float = Field(30, gt=0, description="longest wait for last words, s")

    keep_transcripts_days: float | None = Field(
        None,
        ge=0,
        le=36_500,
        description="how long transcripts are kept; 0: not at all; default: for good",
    )
    keep_receipts_days: float | None = Field(
        None,
        ge=0,
        le=36_500,
        description="how long sessions and receipts are kept; default: for good",
    )

    longest_text_frame_bytes: int = Field(64 * 1024, gt=0, description="largest text frame")
    longest_audio_frame_bytes: int = Field(1024 * 1024, gt=0, description="largest audio frame")
    longest_body_bytes: int = Field(64 * 1024, gt=0, description="largest HTTP body")
    unheard_audio_s: float = Field(10, gt=0, description="audio ahead of the engine before pausing")

    @property
    def shelf(self) -> Path:
        """The folder of installed models."""
        return (self.models_folder or self.home / "models").expanduser().absolute()


class _HomeFile(TomlConfigSettingsSource):
    """``stapes.toml``. A master key has no business beside what it encrypts."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        if "master_key" in values:
            fault = PydanticCustomError(
                "environment_only", "take it out of stapes.toml; set STAPES_MASTER_KEY instead"
            )
            details = InitErrorDetails(type=fault, loc=("master_key",), input=None)
            raise ValidationError.from_exception_data("Settings", [details])
        return values


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
            return init_settings, env_settings, _HomeFile(settings_cls, home / "stapes.toml")

    return FromHome(**{**given, "home": home})
