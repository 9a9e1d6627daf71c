"""One tree of settings: environment variables `TASTESTREAM_*`, or a TOML file named by `TASTESTREAM_CONFIG`.

`__` separates levels: `TASTESTREAM_STATE__BLOCK_SIZE=3`. The environment takes precedence over the file. Unknown names
are errors in both.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from model_store.errors import UserError
from model_store.retrieval.shares import SHARES
from model_store.signals import ValueRule, Vocabulary
from service.names import DEFAULT_TENANT, read_name

PREFIX = "TASTESTREAM_"
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
Seconds = Annotated[float, Field(ge=0.001, le=1e9)]
"""At least one millisecond, Redis's unit, and no more than Redis can add to its clock."""
SecondsOrZero = Annotated[float, Field(ge=0, le=1e9)]
Rate = Annotated[float, Field(ge=0.001, le=1e6)]
Count = Annotated[int, Field(gt=0)]
CountOrZero = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _split(names: Any) -> Any:
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Separated by commas in the environment."""
MOST_TENANTS = 100
"""Each has its own series, and its own look at its queues by every worker."""
Ports = Annotated[tuple[Annotated[int, Field(gt=0, le=65535)], ...], NoDecode, BeforeValidator(_split)]


def _setting(default: Any, description: str) -> Any:
    return Field(default, description=description)


class _Level(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Level):
    """One vLLM server and the model it serves."""

    url: str | None = _setting(None, "Root URL of the server, without /v1.")
    model: str | None = _setting(None, "Name under which the server serves the model.")
    version: str | None = _setting(None, "Version in the model store: `name@1` or `name@production`.")
    api_key: SecretStr | None = _setting(None, "API key of the server, sent as a bearer token.")
    timeout_s: Seconds = _setting(30.0, "Timeout of a call to the server.")
    connect_timeout_s: Seconds = _setting(1.0, "Timeout of connecting to the server.")
    max_concurrent_calls: Count = _setting(64, "Calls to the server at the same time; more wait.")
    breaker_max_open_s: Seconds = _setting(
        10.0, "Longest time for which a failing server is not called; then a few calls try whether it is back."
    )
    retry_share: Annotated[float, Field(ge=0, le=1)] = _setting(
        0.1, "Retries as a share of the calls, in each process; a few more are allowed after a quiet time."
    )

    MOST_SERVERS: ClassVar[int] = 1

    @field_validator("url")
    @classmethod
    def _must_be_http(cls, url: str | None) -> str | None:
        urls = _split(url or "")
        if url is not None and not (urls and all(is_url(one, ("http", "https")) for one in urls)):
            raise ValueError("must be the root of a server: http://HOST:PORT or https://HOST")
        if len(urls) > cls.MOST_SERVERS or len(set(urls)) < len(urls):
            raise ValueError(f"names a server twice, or more than {cls.MOST_SERVERS}")
        return url

    @property
    def urls(self) -> list[str]:
        """The URL of each server; none without a server."""
        urls: list[str] = _split(self.url or "")
        return urls

    @model_validator(mode="after")
    def _must_name_a_model(self) -> Self:
        if self.url is not None and self.model is None and self.version is None:
            raise ValueError("with a URL, MODEL (the served name) or VERSION must be set")
        if self.api_key is not None and any("@" in urlsplit(url).netloc for url in self.urls):
            raise ValueError("give API_KEY, or a user name and password in the URL, not both")
        return self


class EncodedSettings(EngineSettings):
    """A model whose pictures may be soft tokens, which another server makes."""

    encoder_url: str | None = _setting(
        None,
        "Root URL of the picture encoder, for a version whose pictures are soft tokens. Several, separated by commas, "
        "are those of several versions; workers ask the one that has the version.",
    )
    encoder_timeout_s: Seconds = _setting(30.0, "Timeout of encoding one picture.")

    @field_validator("encoder_url")
    @classmethod
    def _must_be_encoders(cls, url: str | None) -> str | None:
        if not url:
            # As compose files set what they leave open.
            return None
        if not (_split(url) and all(is_url(one, ("http", "https")) for one in _split(url))):
            raise ValueError("must be the root of an encoder: http://HOST:PORT or https://HOST")
        return url

    @property
    def encoder_urls(self) -> list[str]:
        """The URL of each encoder; none without one."""
        urls: list[str] = _split(self.encoder_url or "")
        return urls


class FollowedSettings(EncodedSettings):
    """A model whose promotions are followed while the service runs."""

    allowed_urls: Names = _setting(
        (),
        "Servers that the model store may name (`models promote --url`), such as `http://10.0.0.7` (any port), "
        "`http://10.0.0.7:8000` or `http://*.models.svc`; others in it are not asked.",
    )

    @field_validator("allowed_urls")
    @classmethod
    def _must_be_servers(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not is_url(pattern, ("http", "https")) or urlsplit(pattern).path.strip("/"):
                raise ValueError("must be servers: http://HOST, http://HOST:PORT or http://*.DOMAIN")
        return patterns


class RankerSettings(FollowedSettings):
    """The servers of the model that ranks. With `version` NAME or NAME@production, gateways follow promotions."""

    MOST_SERVERS: ClassVar[int] = 64
    url: str | None = _setting(
        None,
        "Root URL of the server, without /v1. Several, separated by commas, are replicas of one model: the requests of "
        "a user go to the same one while it works.",
    )
    mode: Literal["score", "chat"] = _setting(
        "score",
        "`score` for a pooling server (asked by `/classify` if the version's pictures are soft tokens), `chat` for a "
        "generating server with label log-probabilities.",
    )
    follow_every_s: Seconds = _setting(2.0, "Interval at which a gateway looks for promotions in the model store.")


class EmbedderSettings(FollowedSettings):
    """The servers of the model that makes vectors of items; without a URL there are none. With `version` NAME or
    NAME@production, workers follow promotions, and gateways change over once the new vectors are complete."""

    MOST_SERVERS: ClassVar[int] = 8
    url: str | None = _setting(
        None,
        "Root URL of the server, without /v1. Several, separated by commas, may serve different versions, so that the "
        "vectors of a new one are made while the old one is in use.",
    )
    poll_s: Seconds = _setting(0.3, "Interval at which a gateway reads the vectors that changed.")
    check_every_s: Seconds = _setting(
        10.0, "Interval at which one worker looks for items without a vector of the current version."
    )

    @field_validator("url", mode="before")
    @classmethod
    def _may_be_left_open(cls, url: str | None) -> str | None:
        # As compose files do.
        return url or None

    @model_validator(mode="after")
    def _must_name_a_version(self) -> Self:
        if self.url is not None and self.version is None:
            raise ValueError("with a URL, VERSION must be set")
        return self


E = TypeVar("E", bound=EngineSettings)


class EngineChoice(_Level):
    """A tenant's own model server or model. What is not set here is that of all tenants."""

    url: str | None = _setting(None, "Its own server, or servers. Their API key is not that of the others.")
    model: str | None = _setting(
        None, "Name under which the server serves the model; with it, no version is inherited."
    )
    version: str | None = _setting(None, "Version in the model store; with it, no name of a served model is inherited.")
    api_key: SecretStr | None = _setting(None, "API key of the server.")

    def instead_of(self, engine: E) -> E:
        """`engine` with this choice. Raises ValueError if they don't go together."""
        chosen = {name: value for name, value in self if value is not None}
        if "url" in chosen:
            # The key of one server is not sent to another.
            chosen.setdefault("api_key", None)
        if chosen.keys() & {"model", "version"}:
            chosen = {"model": None, "version": None, **chosen}
        try:
            return type(engine)(**{**dict(engine), **chosen}) if chosen else engine
        except ValidationError as error:
            (first, *_) = error.errors()
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None


class EncodedChoice(EngineChoice):
    encoder_url: str | None = _setting(None, "Its own picture encoder.")

    def instead_of(self, engine: E) -> E:
        if self.version is not None and self.encoder_url is None and isinstance(engine, EncodedSettings):
            # The encoder of another version makes other tokens.
            engine = engine.model_copy(update={"encoder_url": None})
        return super().instead_of(engine)


class TenantSettings(_Level):
    """What a tenant has instead of the settings of all tenants."""

    ranker: EncodedChoice = EncodedChoice()
    summarizer: EngineChoice = EngineChoice()
    embedder: EncodedChoice = EncodedChoice()


TenantName = Annotated[str, AfterValidator(read_name)]


class StateSettings(_Level):
    """What Redis keeps, and for how long."""

    block_size: Count = _setting(3, "Events folded into a summary in one step.")
    catch_up_block: Annotated[int, Field(gt=0, le=1000)] = _setting(12, "Largest block while a user's backlog is long.")
    claim_blocks: Count = _setting(4, "Most blocks of a user that a worker folds in one claim.")
    max_wait_s: Seconds = _setting(5.0, "Longest wait of a pending event for its block to fill.")
    lease_s: Seconds = _setting(60.0, "Time a worker has for claimed work before another worker may take it.")
    recents: Count = _setting(20, "Recent events kept per user.")
    seen_items: Count = _setting(200, "Item ids kept per user for `exclude_seen`.")
    votes: Count = _setting(200, "Liked items kept per user, so that a user counts once for each item.")
    dedupe_ids: Count = _setting(1024, "Event ids kept per user to detect duplicates; at least `limits.batch_events`.")
    dedupe_ttl_s: Seconds = _setting(86400.0, "Time for which event ids are kept to detect duplicates.")
    retry_window_s: Seconds = _setting(60.0, "Time in which a repeated event without id and timestamp is a duplicate.")
    max_pending: Count = _setting(1000, "Pending events per user; further ones are rejected with 429.")
    max_backlog: Count = _setting(
        1_000_000, "Pending events of all users of a tenant; further ones are rejected with 429."
    )
    memory_reserve: Annotated[float, Field(ge=0, lt=1)] = _setting(
        0.05, "Share of Redis's `maxmemory` that new events may not use, so that the backlog can still be folded."
    )
    event_log_size: CountOrZero = _setting(
        1_000_000, "Accepted events of a tenant kept for exports and rebuilds; 0 keeps none."
    )
    event_log_retention_s: Seconds = _setting(30 * 86400.0, "Time for which accepted events are kept in the event log.")
    shown_log_size: CountOrZero = _setting(
        0, "Answers of a tenant kept with the features of their items, for `recommendations export`; 0 keeps none."
    )
    summary_versions: Count = _setting(3, "Summary versions whose event ids are kept.")
    max_attempts: Count = _setting(5, "Attempts before work is dead-lettered.")
    retry_initial_s: Seconds = _setting(0.5, "Delay before the first retry; it doubles with each further one.")
    retry_max_s: Seconds = _setting(60.0, "Longest delay between retries.")
    tombstone_s: Seconds = _setting(3600.0, "Time for which a deletion blocks events that were received before it.")
    clock_skew_s: SecondsOrZero = _setting(0.02, "Largest difference between the clocks of gateways and Redis.")
    dead_letters: Count = _setting(10_000, "Dead letters kept per bucket; when it is full, failed work stays pending.")
    neighbours: Count = _setting(100, "Co-occurring items kept per item.")
    popular: Count = _setting(100_000, "Items kept in the popularity ranking.")
    score_cache_ttl_s: Seconds = _setting(600.0, "Time for which scores are cached.")
    score_cache_items: Count = _setting(1000, "Cached scores per user.")
    summary_chars: Count = _setting(4000, "Longest summary or item description that is stored.")
    redis_timeout_s: Seconds = _setting(2.0, "Timeout of connecting to Redis, and of each command.")
    redis_connections: Count = _setting(64, "Connections to Redis per process.")
    wait_replicas: CountOrZero = _setting(0, "Replicas that must have a write before it is acknowledged.")
    wait_aof: bool = _setting(False, "Acknowledge a write only when it is in the append-only file; needs Redis 7.2.")
    replication_timeout_s: Seconds = _setting(1.0, "Timeout of waiting for replicas and disks; then the answer is 503.")
    user_ttl_s: SecondsOrZero = _setting(0.0, "Idle users are deleted after this time; 0 keeps them.")
    buckets: Count = _setting(64, "Hash slots that users are spread over. Fixed once there is data.")


class WorkerSettings(_Level):
    """How much one worker does at the same time."""

    max_concurrent_summaries: Count = _setting(
        32, "Users whose summaries are rewritten at the same time, for each summarizer."
    )
    max_concurrent_descriptions: Count = _setting(8, "Items that are described at the same time, for each summarizer.")
    max_concurrent_encodings: Count = _setting(16, "Pictures that are encoded at the same time, for each ranker.")
    max_concurrent_embeddings: Count = _setting(32, "Items whose vectors are made at the same time, for each embedder.")
    poll_s: Seconds = _setting(0.1, "Interval at which an idle worker looks for work.")
    drain_s: Seconds = _setting(20.0, "Time that running work has to finish after SIGTERM.")
    metrics_host: str = _setting("127.0.0.1", "Address on which a worker serves /metrics.")
    metrics_port: Port | None = _setting(None, "Port of a worker's /metrics.")


class ConcurrencySettings(_Level):
    """Requests that one gateway answers at the same time, by class. Further ones are rejected with 429."""

    events: Count = _setting(512, "`POST /events` without streams.")
    event_streams: Count = _setting(256, "Streams of events, which may stay open.")
    recommend: Count = _setting(256, "`POST /recommend`.")
    items: Count = _setting(64, "Writes to the catalogue.")
    deletes: Count = _setting(64, "`DELETE /users/{id}`.")
    reads: Count = _setting(256, "Reads of users and items, and all other requests.")
    operations: Count = _setting(16, "`/readyz`. `/healthz` and `/metrics` have no limit.")


class RateSettings(_Level):
    """Requests per second of one API key, by scope, in each gateway process. Further ones are rejected with 429."""

    events: Rate | None = _setting(None, "`/events`; a batch or a stream is one request. Default: no limit.")
    recommend: Rate | None = _setting(None, "`/recommend`. Default: no limit.")
    items: Rate | None = _setting(None, "`/items` and all below. Default: no limit.")
    users: Rate | None = _setting(None, "`/users/{id}`. Default: no limit.")
    admin: Rate | None = _setting(None, "All other paths that need a key. Default: no limit.")


class LimitSettings(_Level):
    """What a caller may send. Limits of the length of texts are fixed; the OpenAPI page shows them."""

    connections: Count = _setting(10_000, "Open connections; fewer if the process may open fewer files.")
    header_bytes: Count = _setting(64 * 1024, "Largest request line with headers.")
    header_timeout_s: Seconds = _setting(10.0, "Time for request line and headers to arrive.")
    answer_timeout_s: Seconds = _setting(30.0, "Time for a caller to read the answer.")
    body_bytes: Count = _setting(16 * 1024 * 1024, "Largest body.")
    events_bytes: Count = _setting(8 * 1024 * 1024, "Largest body of `POST /events`; streams may be longer.")
    recommend_bytes: Count = _setting(2 * 1024 * 1024, "Largest body of `POST /recommend`.")
    json_values: Count = _setting(100_000, "Values in a JSON body; parsing more would delay other requests.")
    body_timeout_s: Seconds = _setting(30.0, "Time for a body to arrive.")
    batch_events: Count = _setting(1000, "Events in a batch.")
    line_bytes: Count = _setting(64 * 1024, "Longest line of an NDJSON stream.")
    stream_idle_s: Seconds = _setting(30.0, "Time for which a stream may send nothing.")
    stream_rejections: Count = _setting(1000, "Rejected lines listed in the answer to a stream.")
    bulk_items: Count = _setting(1000, "Items in a batch.")
    candidates: Count = _setting(500, "Candidates in a recommendation request.")
    max_k: Count = _setting(100, "Items in a recommendation.")
    max_concurrent_requests: ConcurrencySettings = ConcurrencySettings()
    caller_share: Annotated[float, Field(gt=0, le=1)] = _setting(
        0.5, "Share of `max_concurrent_requests` that one API key may use; without keys, one address."
    )
    requests_per_s: RateSettings = RateSettings()
    rate_burst_s: SecondsOrZero = _setting(
        5.0, "Seconds without requests after which a key may send `requests_per_s` for as many seconds at once."
    )
    max_loop_lag_s: Seconds = _setting(
        0.5,
        "Time that a recommendation may wait for the gateway's processor; above it, requests are rejected with 429: "
        "first `items` and `reads`, then `recommend`.",
    )
    bytes_in_flight: Count = _setting(128 * 1024 * 1024, "Memory for the request bodies of a gateway.")

    @model_validator(mode="after")
    def _must_fit(self) -> Self:
        if self.body_bytes > self.bytes_in_flight:
            raise ValueError("BODY_BYTES must not be more than BYTES_IN_FLIGHT")
        return self


class PictureSettings(_Level):
    """How pictures are fetched, decoded and stored."""

    url: str | None = _setting(None, "Folder of pictures: a path or an fsspec URL; default: `pictures` in `data_dir`.")
    tokens_url: str | None = _setting(
        None,
        "Folder of pictures' soft tokens: a path or an fsspec URL; default: `tokens` in the folder of pictures.",
    )
    max_bytes: Count = _setting(8 * 1024 * 1024, "Largest picture that is accepted.")
    max_pixels: Count = _setting(40_000_000, "Most pixels of a picture.")
    max_side: Count = _setting(16_384, "Longest side of a picture in pixels.")
    decode_memory_bytes: Count = _setting(512 * 1024 * 1024, "Memory for decoding one picture.")
    decode_cpu_s: Count = _setting(5, "Processor time for decoding one picture.")
    decode_timeout_s: Seconds = _setting(15.0, "Timeout of decoding one picture.")
    max_concurrent_decodes: Count = _setting(2, "Processes that decode pictures, per gateway or worker.")
    max_waiting_decodes: Count = _setting(1024, "Pictures waiting to be decoded; further ones are rejected with 429.")
    stored_side: Count = _setting(512, "Longest side of a stored picture in pixels.")
    fetch_timeout_s: Seconds = _setting(10.0, "Timeout of fetching one picture.")
    fetch_first_timeout_s: Seconds = _setting(4.0, "Timeout of the first attempt to fetch a picture.")
    max_concurrent_fetches: Count = _setting(16, "Pictures fetched at the same time by one worker.")
    max_concurrent_fetches_per_site: Count = _setting(
        4, "Pictures fetched at the same time from one site, by one worker."
    )
    fetch_attempts: Count = _setting(6, "Attempts to fetch a picture.")
    fetch_retry_initial_s: Seconds = _setting(5.0, "Delay before the second attempt; it doubles with each further one.")
    fetch_retry_max_s: Seconds = _setting(300.0, "Longest delay between attempts to fetch a picture.")
    fetch_ports: Ports | None = _setting(
        None,
        "Ports that pictures are fetched from, such as `80,443`; default: 80 and 443, or any with private addresses.",
    )
    cached_bytes: Count = _setting(64 * 1024 * 1024, "Memory of a gateway for stored pictures, or for soft tokens.")
    sweep_every_s: Seconds = _setting(3600.0, "Interval at which unused pictures are removed.")
    grace_s: Seconds = _setting(3600.0, "Minimum age of an unused picture before it is removed.")
    allow_private_addresses: bool = _setting(False, "Fetch from private addresses; only for tests and closed networks.")

    def may_fetch_from(self, port: int) -> bool:
        """Whether pictures may be fetched from this port."""
        if self.fetch_ports is None:
            return port in (80, 443) or (self.allow_private_addresses and port > 0)
        return port in self.fetch_ports


class EncoderSettings(_Level):
    """The picture encoder, `tastestream encoder`. It is for workers alone: it asks for no key."""

    host: str = _setting("127.0.0.1", "Address on which an encoder listens.")
    port: Port = _setting(8003, "Port on which an encoder listens.")
    max_batch: Count = _setting(16, "Pictures that are encoded together.")
    max_waiting: Count = _setting(64, "Pictures that wait or are encoded; further ones are rejected with 429.")
    max_bytes: Count = _setting(4 * 1024 * 1024, "Largest picture that is accepted.")


class RecommendSettings(_Level):
    """How recommendations are computed."""

    deadline_ms: Count = _setting(2000, "Deadline of a request that does not set one.")
    retrieve: Count = _setting(50, "Candidates that are retrieved when the request has none.")
    new_items_share: Annotated[float, Field(ge=0, le=0.5)] = _setting(
        SHARES.new, "Largest share of new items among retrieved candidates."
    )
    embedding_share: Annotated[float, Field(ge=0, le=0.9)] = _setting(
        SHARES.embedding,
        "Share of items near to the user's recents by their vectors, among retrieved candidates. If the ranker's item "
        "models find something, it is of items that they don't know. With 0, vectors find nothing, and do not order "
        "new items either.",
    )
    genre_share: Annotated[float, Field(ge=0, le=0.5)] = _setting(
        SHARES.genre,
        "Largest share of popular items of the user's genres among retrieved candidates. Where item models "
        "find enough, there are none.",
    )
    similar_pivot: Annotated[float, Field(ge=0, le=1e6)] = _setting(
        20.0,
        "Users who like an item at which `/items/{id}/similar` follows their likes and the item's vector equally; for "
        "items with fewer, the vector counts more.",
    )
    duplicate_cosine: Annotated[float, Field(ge=0.5, le=1)] = _setting(
        0.995, "Cosine of the vectors of two items from which they are nearly the same, and only one is shown."
    )
    page_ttl_s: Seconds = _setting(600.0, "Time for which the next page of a recommendation can be asked for.")
    rotation_ttl_s: Seconds = _setting(
        86400.0, "Time for which items that were shown give way to others, in requests with `rotation`."
    )
    new_items_s: Seconds = _setting(14 * 86400.0, "Age up to which an item is new.")
    max_scanned_items: Count = _setting(2000, "Items read for one request whose filters match few items.")
    min_concurrent_ranks: Count = _setting(
        1, "Requests that may call the ranker at the same time, at least, however slow it becomes."
    )
    max_concurrent_ranks: Count = _setting(
        64,
        "And at most. In between, each gateway process adapts the limit to the ranker's latency; more requests wait, "
        "as long as their deadlines allow.",
    )

    exploration_temperature: Annotated[float, Field(ge=0, le=10)] = _setting(
        0.0, "Shuffles the items of an answer: the higher, the more; 0 keeps their order. Needed by `models ope`."
    )
    max_concurrent_shadows: Count = _setting(2, "Answers that a gateway compares with a shadow at the same time.")
    max_waiting_shadows: Count = _setting(64, "Answers that wait to be compared with a shadow; more are not compared.")

    @model_validator(mode="after")
    def _must_be_a_range(self) -> Self:
        if self.min_concurrent_ranks > self.max_concurrent_ranks:
            raise ValueError("MIN_CONCURRENT_RANKS must not be more than MAX_CONCURRENT_RANKS")
        return self

    @model_validator(mode="after")
    def _must_leave_room(self) -> Self:
        if self.new_items_share + self.embedding_share + self.genre_share > 1:
            raise ValueError("NEW_ITEMS_SHARE, EMBEDDING_SHARE and GENRE_SHARE must not be more than 1 together")
        return self


class TracingSettings(_Level):
    """Traces by OpenTelemetry, which the extra `tracing` installs. Other settings of its SDK are its own variables,
    such as `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_BSP_MAX_QUEUE_SIZE`."""

    endpoint: str | None = _setting(None, "Root URL of a collector that takes OTLP over HTTP; default: no traces.")
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = _setting(
        1.0, "Share of the requests that are traced, if the caller's `traceparent` does not decide."
    )

    @field_validator("endpoint")
    @classmethod
    def _must_be_http(cls, url: str | None) -> str | None:
        if url is not None and not is_url(url, ("http", "https")):
            raise ValueError("must be the root of a collector: http://HOST:4318")
        return url


class SignalSettings(_Level):
    """What event types mean. These settings override the model version and the built-in table.

    In the environment, separate types by commas.
    """

    positive: Names = _setting((), "Types that mean that the user likes the item.")
    negative: Names = _setting((), "Types that mean that the user dislikes the item.")
    neutral: Names = _setting((), "Types that mean neither.")
    exposures: Names = _setting((), "Types that only say that an item was shown; they are kept only in the event log.")
    values: dict[str, ValueRule] = Field(
        default_factory=dict,
        description="Types whose value decides: positive from `positive_from` up, negative from `negative_to` down, "
        "on a scale that ends at `of`.",
    )

    @model_validator(mode="after")
    def _must_be_a_vocabulary(self) -> Self:
        self.vocabulary()
        return self

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**dict(self))


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    redis_url: str | None = _setting(
        None,
        "URL of Redis 6.2 or later: `redis://`, `rediss://`, `unix://`, or `redis+cluster://` and one of its nodes.",
    )
    host: str = _setting("127.0.0.1", "Address on which the gateway listens.")
    port: Port = _setting(8000, "Port on which the gateway listens.")
    processes: Annotated[int, Field(ge=1, le=64)] = _setting(
        1, "Processes of a gateway, which share its port. Each has all limits for itself, as separate gateways would."
    )
    data_dir: Path = _setting(Path(".tastestream"), "Folder of local data.")
    model_store: str | None = _setting(
        None, "Folder of model versions: a path or an fsspec URL; default: `models` in `data_dir`."
    )
    api_keys_file: Path | None = _setting(None, "File of API keys, which `tastestream keys` writes.")
    insecure: bool = _setting(False, "Allow an address that other machines can reach without API keys.")
    trusted_hosts: Names = _setting(
        (),
        "Host names of the gateway, such as `api.example.com` or `*.example.com`; default: any with API keys, and "
        "without them addresses and names without a dot.",
    )
    cors_origins: Names = _setting((), "Origins whose pages may call the gateway from a browser; `*` for any.")
    webhook_origins: Names = _setting(
        (), "Brokers that may deliver CloudEvents, by their `WebHook-Request-Origin`; `*` for any."
    )
    webhook_rate: Count | None = _setting(None, "Deliveries per minute that a broker is allowed; default: no limit.")
    log_json: bool = _setting(True, "Log JSON, one object per line; otherwise text.")
    log_requests: Literal["all", "errors"] = _setting("errors", "Requests that are logged. `all` costs throughput.")
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


def is_remote(folder: str) -> bool:
    """Whether a folder is an fsspec URL such as `s3://bucket/models`, and not a path."""
    return "://" in folder


def is_url(url: str, schemes: Collection[str]) -> bool:
    """Whether it is the URL of a server, with one of these schemes."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.path if parts.scheme == "unix" else parts.hostname)


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
