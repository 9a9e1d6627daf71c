"""One tree of settings: environment variables `TASTESTREAM_*`, or a TOML file named by `TASTESTREAM_CONFIG`.

`__` stands between levels: `TASTESTREAM_STATE__BLOCK_SIZE=3`. The environment wins over the
file. Unknown keys are refused by name, in both.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from model_store.signals import ValueRule, Vocabulary

PREFIX = "TASTESTREAM_"
HTTP_SCHEMES = frozenset({"http", "https"})
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"})
Seconds = Annotated[float, Field(ge=0.001, le=1e9)]
"""Redis counts milliseconds, of which there must be one, and no more than it can add to its clock."""
SecondsOrZero = Annotated[float, Field(ge=0, le=1e9)]
Count = Annotated[int, Field(gt=0)]


def _split(names: Any) -> Any:
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""In the environment separated by commas."""
Ports = Annotated[tuple[Annotated[int, Field(gt=0, le=65535)], ...], NoDecode, BeforeValidator(_split)]
WEB_PORTS = frozenset({80, 443})


class _Level(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Level):
    """One vLLM server and the model it serves."""

    url: str | None = Field(None, description="The server's root, without /v1.")
    model: str | None = Field(None, description="The name under which the server serves the model.")
    version: str | None = Field(None, description="A version of the model store (`name@1` or `name@production`).")
    api_key: SecretStr | None = None
    timeout_s: Seconds = 30.0
    connect_timeout_s: Seconds = 1.0
    max_in_flight: Count = 64

    @field_validator("url")
    @classmethod
    def _must_be_http(cls, url: str | None) -> str | None:
        if url is not None and not _is_url(url, HTTP_SCHEMES):
            raise ValueError("must be the root of a server: http://HOST:PORT or https://HOST")
        return url

    @model_validator(mode="after")
    def _must_name_a_model(self) -> Self:
        if self.url is not None and self.model is None and self.version is None:
            raise ValueError("with a URL, MODEL (the name under which it serves) or VERSION must be set")
        if self.url is not None and self.api_key is not None and "@" in urlsplit(self.url).netloc:
            raise ValueError("give API_KEY, or a user name and password in the URL, not both")
        return self


class RankerSettings(EngineSettings):
    mode: Literal["score", "chat"] = Field(
        "score",
        description="`score`: pooling server; `chat`: one token and label log-probabilities.",
    )


class StateSettings(_Level):
    block_size: Count = Field(3, description="Events folded in one recurrent step (MLLM-MSR's best is 3).")
    catch_up_block: Annotated[int, Field(gt=0, le=1000)] = Field(
        12, description="The largest block, when many events of a user are pending. All of one fit into a dead letter."
    )
    claim_blocks: Count = Field(
        4, description="Recurrent steps in one claim; it holds at most this many of the largest blocks."
    )
    max_wait_s: Seconds = Field(5.0, description="The longest that a pending event waits for its block to fill.")
    lease_s: Seconds = 60.0
    recents: Count = Field(20, description="Raw events kept per user for the prompt.")
    seen_items: Count = Field(200, description="Item ids kept per user for exclude_seen.")
    votes: Count = Field(
        200, description="Liked items per user that are remembered as counted, so that a user counts once for each."
    )
    dedupe_ids: Count = Field(
        1024, description="Event ids kept per user against duplicates; at least `limits.batch_events`."
    )
    dedupe_ttl_s: Seconds = 86400.0
    retry_window_s: Seconds = Field(
        60.0, description="How long an event without id and timestamp that comes again is taken for the same one."
    )
    max_pending: Count = Field(1000, description="Unfolded events per user; more are refused with 429.")
    max_backlog: Count = Field(
        1_000_000,
        description="Unfolded events of all users, shared out evenly to the buckets; more are refused with 429.",
    )
    memory_reserve: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Part of Redis's `maxmemory` that new events may not use, so that the backlog can be folded."
    )
    log_events: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="Accepted events kept for export and rebuild, shared out to the buckets; 0 keeps none."
    )
    log_s: Seconds = Field(30 * 86400.0, description="How long an accepted event is kept for export and rebuild.")
    history: Count = Field(3, description="Versions of a summary whose folded events are remembered.")
    max_attempts: Count = Field(5, description="Tries before a block goes to the dead letters.")
    retry_base_s: Seconds = 0.5
    retry_max_s: Seconds = 60.0
    tombstone_s: Seconds = Field(3600.0, description="How long a deletion blocks events that were received before it.")
    clock_skew_s: SecondsOrZero = Field(
        0.02, description="How far the clocks of gateways and Redis may differ; a deletion waits twice as long."
    )
    dead_letters: Count = Field(
        10_000,
        description="Dead letters kept per bucket; when it is full, what fails stays pending and is tried again.",
    )
    neighbours: Count = Field(100, description="Co-occurring items kept per item.")
    popular: Count = Field(100_000, description="Items kept in the popularity ranking.")
    score_cache_ttl_s: Seconds = 600.0
    score_cache_items: Count = Field(1000, description="Cached scores kept per user.")
    summary_chars: Count = Field(4000, description="Longest preference or item summary that is stored.")
    redis_timeout_s: Seconds = Field(
        2.0, description="The longest wait for a connection to Redis, and for an answer of it."
    )
    redis_connections: Count = Field(64, description="Connections to Redis per process.")
    wait_replicas: Annotated[int, Field(ge=0)] = Field(
        0, description="Replicas that must have an event (or a deletion) before it is acknowledged."
    )
    wait_aof: bool = Field(
        False,
        description="Acknowledge only what is on disk: on Redis's own, and on that of `wait_replicas`; Redis 7.2.",
    )
    wait_s: Seconds = Field(1.0, description="The longest wait for replicas or disks; then the answer is 503.")
    accepts_at_once: Count = Field(2, description="Round trips with events that one gateway has under way.")
    user_ttl_s: SecondsOrZero = Field(0.0, description="Idle users expire after this; 0 keeps them.")
    buckets: Count = Field(64, description="Slots that users are spread over; a state keeps its number.")


class WorkerSettings(_Level):
    concurrency: Count = Field(32, description="Users whose summaries are rewritten at the same time.")
    describe_concurrency: Count = 8
    poll_s: Seconds = Field(0.1, description="How often a worker looks for work when there is not enough.")
    drain_s: Seconds = Field(20.0, description="How long running work may take after SIGTERM before it is given back.")
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int | None, Field(ge=0, le=65535)] = Field(
        None, description="Port of a worker's own /metrics; none by default."
    )


class ConcurrencySettings(_Level):
    """Requests that one gateway answers at the same time; more are refused with 429."""

    events: Count = Field(512, description="`POST /events`, but for streams.")
    event_streams: Count = Field(256, description="Streams of events, which may be open for any time.")
    recommend: Count = Field(256, description="`POST /recommend`.")
    items: Count = Field(64, description="Writes to the catalogue.")
    reads: Count = Field(256, description="What asks for users and items, and all else.")
    operations: Count = Field(16, description="`/readyz` and `/metrics`; `/healthz` is always answered.")


class LimitSettings(_Level):
    connections: Count = Field(
        10_000, description="Connections that callers hold open; fewer where too few files may be open."
    )
    header_bytes: Count = Field(
        64 * 1024, description="The longest request line and headers, and the longest chunk extensions and trailers."
    )
    header_timeout_s: Seconds = Field(10.0, description="How long request line and headers may take to arrive.")
    answer_timeout_s: Seconds = Field(30.0, description="How long a caller may take to read what was sent.")
    body_bytes: Count = Field(16 * 1024 * 1024, description="The largest body; items may bring pictures in it.")
    events_bytes: Count = Field(8 * 1024 * 1024, description="The largest body of events; a stream may be longer.")
    recommend_bytes: Count = Field(2 * 1024 * 1024, description="The largest body of a recommendation request.")
    json_values: Count = Field(
        100_000, description="Values in a JSON body: parsing more would hold up all other requests for too long."
    )
    body_timeout_s: Seconds = Field(30.0, description="How long a request's body may take to arrive.")
    batch_events: Count = 1000
    line_bytes: Count = Field(
        64 * 1024, description="The longest line of an NDJSON stream of events; leave room for the context."
    )
    stream_idle_s: Seconds = Field(30.0, description="How long a stream of events may send nothing.")
    stream_rejections: Count = Field(1000, description="Rejected lines of a stream that its answer lists.")
    bulk_items: Count = 1000
    candidates: Count = 500
    k: Count = 100
    max_concurrent_requests: ConcurrencySettings = ConcurrencySettings()
    caller_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Part of each of `max_concurrent_requests` that one API key, or without keys one address, has."
    )
    bytes_in_flight: Count = Field(
        128 * 1024 * 1024, description="Bytes of request bodies that all requests of a gateway hold together."
    )

    @model_validator(mode="after")
    def _must_fit(self) -> Self:
        if self.body_bytes > self.bytes_in_flight:
            raise ValueError("BODY_BYTES: more than BYTES_IN_FLIGHT, so that no such body could be taken")
        return self


class PictureSettings(_Level):
    url: str | None = Field(None, description="Any fsspec URL or path; default: `pictures` in the data folder.")
    max_bytes: Count = 8 * 1024 * 1024
    max_pixels: Count = 40_000_000
    max_side: Count = Field(16_384, description="Longest side in pixels of a picture that is decoded.")
    decode_memory_bytes: Count = Field(
        512 * 1024 * 1024, description="Memory that decoding one picture may take; then it is refused as too costly."
    )
    decode_cpu_s: Count = Field(5, description="Processor seconds that decoding one picture may take.")
    decode_timeout_s: Seconds = Field(
        15.0, description="How long decoding one picture may take, also when the machine is busy."
    )
    max_concurrent_decodes: Count = Field(2, description="Processes of one gateway or worker that decode pictures.")
    max_waiting_decodes: Count = Field(
        1024, description="Pictures of all requests that are decoded or wait for it; more are refused with 429."
    )
    stored_side: Count = Field(512, description="Longest side in pixels of the stored picture.")
    fetch_timeout_s: Seconds = Field(
        10.0, description="The longest that one picture may take, from the look-up of its host to its last byte."
    )
    fetch_first_timeout_s: Seconds = Field(
        4.0, description="The same for the first try, so that hosts that never answer are found out soon."
    )
    fetch_redirects: Annotated[int, Field(ge=0)] = 3
    fetch_concurrency: Count = Field(16, description="Pictures fetched at the same time by one worker.")
    max_concurrent_fetches_per_site: Count = Field(
        4, description="Pictures fetched at the same time by one worker from one site, such as all of `example.com`."
    )
    fetch_attempts: Count = Field(6, description="Tries before a picture whose host is in trouble is given up.")
    fetch_retry_initial_s: Seconds = Field(5.0, description="The wait before the second try; then it doubles.")
    fetch_retry_max_s: Seconds = 300.0
    fetch_ports: Ports | None = Field(
        None,
        description="Ports that pictures are fetched from, such as `80,443,8080`; default: 80 and 443, or any where "
        "private addresses are allowed.",
    )
    cached_bytes: Count = Field(64 * 1024 * 1024, description="Stored pictures kept in a gateway's memory.")
    fitted_bytes: Count = Field(
        64 * 1024 * 1024, description="Pictures at the model's size kept in the memory of a gateway or worker."
    )
    sweep_every_s: Seconds = Field(3600.0, description="How often one of the workers removes pictures of no item.")
    grace_s: Seconds = Field(
        3600.0, description="A picture of no item is kept this long; longer than any request takes."
    )
    allow_private_addresses: bool = Field(
        False, description="Fetch pictures from private addresses; for tests and closed networks only."
    )

    def may_fetch_from(self, port: int) -> bool:
        """Whether pictures may be fetched from this port."""
        if self.fetch_ports is None:
            return port in WEB_PORTS or (self.allow_private_addresses and port > 0)
        return port in self.fetch_ports


class RecommendSettings(_Level):
    deadline_ms: Count = 2000
    max_deadline_ms: Count = 30_000
    reserve_ms: Count = Field(50, description="Time kept back from the ranker for blending and answering.")
    retrieve: Count = Field(50, description="Candidates retrieved when the caller gives none.")
    new_items_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="Part of the retrieved candidates that are new items; up to three times as many with filters."
    )
    new_items_s: Seconds = Field(14 * 86400.0, description="How long an item counts as new.")
    max_scanned_items: Count = Field(
        2000, description="Items read for one answer without candidates, when filters leave most of them out."
    )
    max_concurrent_ranks: Count = 8


class SignalSettings(_Level):
    """What types of events mean. A type named here means this, whatever the model version or the built-in table says.

    In the environment, types are separated by commas.
    """

    positive: Names = Field((), description="Types that speak for an item.")
    negative: Names = Field((), description="Types that speak against an item.")
    neutral: Names = Field((), description="Types that say neither.")
    exposures: Names = Field(
        (), description="Types that only say that an item was shown: logged, but neither recent, seen nor folded."
    )
    values: dict[str, ValueRule] = Field(
        default_factory=dict,
        description="Types whose value decides: positive from `positive_from` up, negative from `negative_to` down; "
        "`of` is the end of the scale.",
    )

    @model_validator(mode="after")
    def _must_be_a_vocabulary(self) -> Self:
        self.vocabulary()
        return self

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**dict(self))


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    redis_url: str | None = Field(
        None,
        description="Redis 6.2 or later: `redis://`, `rediss://`, `unix://`, or `redis+cluster://` and a node.",
    )
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    data_dir: Path = Path(".tastestream")
    model_store: Path | None = Field(
        None, description="Folder of model versions; default: `models` in the data folder."
    )
    api_keys_file: Path | None = Field(None, description="One key a line; callers send `Authorization: Bearer KEY`.")
    insecure: bool = Field(False, description="Serve without API keys on an address that other machines can reach.")
    trusted_hosts: Names = Field(
        (),
        description="Host names that the gateway answers to, such as `api.example.com` or `*.example.com`. Without API "
        "keys only these, addresses and names without a dot are answered; with keys, any name unless this is set.",
    )
    cors_origins: Names = Field(
        (),
        description="Origins whose web pages may call the gateway, such as `https://shop.example.com`; `*` for any.",
    )
    webhook_origins: Names = Field(
        (),
        description="Brokers that may deliver CloudEvents, as they name themselves in the handshake of a webhook "
        "(`WebHook-Request-Origin`), such as `eventgrid.azure.net`; `*` for any.",
    )
    webhook_rate: Count | None = Field(None, description="Deliveries a minute that a broker is allowed; no bound.")
    log_json: bool = True
    log_requests: Literal["all", "errors"] = Field(
        "errors", description="Which requests the gateway logs; `all` costs a fifth of a single event's time."
    )
    summarizer: EngineSettings = EngineSettings()
    ranker: RankerSettings = RankerSettings()
    state: StateSettings = StateSettings()
    worker: WorkerSettings = WorkerSettings()
    limits: LimitSettings = LimitSettings()
    pictures: PictureSettings = PictureSettings()
    recommend: RecommendSettings = RecommendSettings()
    signals: SignalSettings = SignalSettings()

    @property
    def models_folder(self) -> Path:
        """Where the model versions are."""
        return self.model_store or self.data_dir / "models"

    @field_validator("redis_url")
    @classmethod
    def _must_be_a_redis_url(cls, url: str | None) -> str | None:
        if url is not None and not _is_url(url, REDIS_SCHEMES):
            # Without the URL: it may hold a password.
            raise ValueError(
                "must be redis://HOST:PORT, rediss://, unix://PATH, redis+cluster:// or rediss+cluster://; "
                "a password with /, ?, #, @ or : in it must be percent-encoded"
            )
        return url

    @model_validator(mode="after")
    def _must_remember_a_batch(self) -> Self:
        """A batch that is sent again is all duplicates, whoever its events are of."""
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


def _is_url(url: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.path if parts.scheme == "unix" else parts.hostname)


def _toml(settings_cls: type[BaseSettings], file: Path) -> TomlConfigSettingsSource:
    """
    Raises:
        SettingsError: there is no such file, or it is not TOML.
    """
    if not file.exists():
        raise SettingsError(f"{PREFIX}CONFIG: {file} does not exist")
    try:
        return TomlConfigSettingsSource(settings_cls, file)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{PREFIX}CONFIG: {file} can't be read: {error}") from error
