"""One tree of settings: environment variables `TASTESTREAM_*`, or a TOML file named by `TASTESTREAM_CONFIG`.

`__` separates levels: `TASTESTREAM_STATE__BLOCK_SIZE=3`. The environment takes precedence over the file. Unknown names
are errors in both.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from model_store.errors import UserError
from service.names import DEFAULT_TENANT
from service.settings.declare import Count, Names, Port, setting
from service.settings.encoder import EncoderSettings
from service.settings.engines import EmbedderSettings, EngineSettings, RankerSettings
from service.settings.limits import LimitSettings
from service.settings.pictures import PictureSettings
from service.settings.recommend import RecommendSettings
from service.settings.signals import SignalSettings
from service.settings.state import StateSettings
from service.settings.tenants import MOST_TENANTS, TenantName, TenantSettings
from service.settings.tracing import TracingSettings
from service.settings.urls import is_remote, is_url
from service.settings.worker import WorkerSettings

PREFIX = "TASTESTREAM_"
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    redis_url: str | None = setting(
        None,
        "URL of Redis 6.2 or later: `redis://`, `rediss://`, `unix://`, or `redis+cluster://` and one of its nodes.",
    )
    host: str = setting("127.0.0.1", "Address on which the gateway listens.")
    port: Port = setting(8000, "Port on which the gateway listens.")
    processes: Annotated[int, Field(ge=1, le=64)] = setting(
        1, "Processes of a gateway, which share its port. Each has all limits for itself, as separate gateways would."
    )
    data_dir: Path = setting(Path(".tastestream"), "Folder of local data.")
    model_store: str | None = setting(
        None, "Folder of model versions: a path or an fsspec URL; default: `models` in `data_dir`."
    )
    api_keys_file: Path | None = setting(None, "File of API keys, which `tastestream keys` writes.")
    insecure: bool = setting(False, "Allow an address that other machines can reach without API keys.")
    trusted_hosts: Names = setting(
        (),
        "Host names of the gateway, such as `api.example.com` or `*.example.com`; default: any with API keys, and "
        "without them addresses and names without a dot.",
    )
    cors_origins: Names = setting((), "Origins whose pages may call the gateway from a browser; `*` for any.")
    webhook_origins: Names = setting(
        (), "Brokers that may deliver CloudEvents, by their `WebHook-Request-Origin`; `*` for any."
    )
    webhook_rate: Count | None = setting(None, "Deliveries per minute that a broker is allowed; default: no limit.")
    log_json: bool = setting(True, "Log JSON, one object per line; otherwise text.")
    log_requests: Literal["all", "errors"] = setting("errors", "Requests that are logged. `all` costs throughput.")
    summarizer: EngineSettings = EngineSettings()
    ranker: RankerSettings = RankerSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    state: StateSettings = StateSettings()
    worker: WorkerSettings = WorkerSettings()
    limits: LimitSettings = LimitSettings()
    pictures: PictureSettings = PictureSettings()
    encoder: EncoderSettings = EncoderSettings()
    recommend: RecommendSettings = RecommendSettings()
    signals: SignalSettings = SignalSettings()
    tracing: TracingSettings = TracingSettings()
    tenants: Annotated[dict[TenantName, TenantSettings], Field(max_length=MOST_TENANTS)] = Field(
        default_factory=dict,
        description="Tenants other than `default`, each with the model servers that differ from those of all: "
        "`[tenants.shop.ranker]` in the file.",
    )

    @property
    def tenant_names(self) -> tuple[str, ...]:
        """All tenants, `default` first."""
        return (DEFAULT_TENANT, *(name for name in self.tenants if name != DEFAULT_TENANT))

    def of_tenant(self, name: str) -> "Settings":
        """The settings of a tenant: with its own model servers, and its own folder of pictures.

        Raises:
            KeyError: the tenant does not exist.
        """
        if name not in self.tenant_names:
            raise KeyError(name)
        tenant = self.tenants.get(name, TenantSettings())
        changed: dict[str, Any] = {
            "ranker": tenant.ranker.instead_of(self.ranker),
            "summarizer": tenant.summarizer.instead_of(self.summarizer),
            "embedder": tenant.embedder.instead_of(self.embedder),
        }
        tokens = self.pictures.tokens_url
        folders = {"url": self.pictures_of(name), "tokens_url": tokens and _of_tenant(tokens, name)}
        changed["pictures"] = self.pictures.model_copy(update=folders)
        return self.model_copy(update=changed)

    def pictures_of(self, tenant: str) -> str:
        """The folder of a tenant's pictures."""
        return _of_tenant(self.pictures_url, tenant)

    @property
    def pictures_url(self) -> str:
        """The folder of pictures: a path or an fsspec URL."""
        return self.pictures.url or str(self.data_dir / "pictures")

    @property
    def models_root(self) -> str:
        """The folder of model versions: a path or an fsspec URL."""
        return self.model_store or str(self.data_dir / "models")

    @property
    def picture_tokens_url(self) -> str:
        """The folder of pictures' soft tokens: a path or an fsspec URL."""
        return self.pictures.tokens_url or f"{self.pictures_url.rstrip('/')}/tokens"

    @property
    def encodes_pictures(self) -> bool:
        """Whether a tenant's ranker has a picture encoder."""
        return bool(self.ranker.encoder_url or any(tenant.ranker.encoder_url for tenant in self.tenants.values()))

    @property
    def embeds_items(self) -> bool:
        """Whether a tenant has a model that makes vectors of items."""
        return bool(self.embedder.url or any(tenant.embedder.url for tenant in self.tenants.values()))

    @property
    def models_folder(self) -> Path:
        """The folder of model versions, for those who train into it.

        Raises:
            UserError: it is not on this machine.
        """
        if is_remote(self.models_root):
            raise UserError(f"{self.models_root} is not a folder: choose one with --store")
        return Path(self.models_root)

    @field_validator("model_store", mode="before")
    @classmethod
    def _may_be_a_path(cls, store: Any) -> Any:
        return str(store) if isinstance(store, Path) else store

    @field_validator("redis_url")
    @classmethod
    def _must_be_a_redis_url(cls, url: str | None) -> str | None:
        if url is not None and not is_url(url, _REDIS_SCHEMES):
            # Without the URL: it may hold a password.
            raise ValueError(
                "must be redis://HOST:PORT, rediss://, unix://PATH, redis+cluster:// or rediss+cluster://; "
                "a password with /, ?, #, @ or : in it must be percent-encoded"
            )
        return url

    @model_validator(mode="after")
    def _must_fit_the_engines(self) -> Self:
        for name, tenant in self.tenants.items():
            for role in ("ranker", "summarizer", "embedder"):
                try:
                    getattr(tenant, role).instead_of(getattr(self, role))
                except ValueError as error:
                    raise ValueError(f"tenants.{name}.{role}: {error}") from None
        return self

    @model_validator(mode="after")
    def _must_remember_a_batch(self) -> Self:
        """All events of a repeated batch must be recognized as duplicates, even if they are of one user."""
        if self.state.dedupe_ids < self.limits.batch_events:
            raise ValueError("STATE__DEDUPE_IDS must not be less than LIMITS__BATCH_EVENTS")
        return self

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        known = {name.upper() for name in cls.model_fields} | {"CONFIG", "API_KEY"}
        for variable in os.environ:
            if variable.startswith(PREFIX) and variable.removeprefix(PREFIX).split("__")[0] not in known:
                raise ValueError(f"{variable}: no such setting")
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get(f"{PREFIX}CONFIG")
        toml = (_toml(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, *toml)


def _toml(settings_cls: type[BaseSettings], file: Path) -> TomlConfigSettingsSource:
    """
    Raises:
        SettingsError: the file does not exist, or it is not TOML.
    """
    if not file.exists():
        raise SettingsError(f"{PREFIX}CONFIG: {file} does not exist")
    try:
        return TomlConfigSettingsSource(settings_cls, file)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{PREFIX}CONFIG: {file} can't be read: {error}") from error


def _of_tenant(folder: str, tenant: str) -> str:
    return folder if tenant == DEFAULT_TENANT else f"{folder.rstrip('/')}/tenants/{tenant}"
