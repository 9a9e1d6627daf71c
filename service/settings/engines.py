"""Settings of the model servers: of the summarizer, the ranker and the embedder."""

from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from service.settings.declare import Count, Level, Names, Seconds, setting, split_commas
from service.settings.urls import is_url


class EngineSettings(Level):
    """One vLLM server and the model it serves."""

    url: str | None = setting(None, "Root URL of the server, without /v1.")
    model: str | None = setting(None, "Name under which the server serves the model.")
    version: str | None = setting(None, "Version in the model store: `name@1` or `name@production`.")
    api_key: SecretStr | None = setting(None, "API key of the server, sent as a bearer token.")
    timeout_s: Seconds = setting(30.0, "Timeout of a call to the server.")
    connect_timeout_s: Seconds = setting(1.0, "Timeout of connecting to the server.")
    max_concurrent_calls: Count = setting(64, "Calls to the server at the same time; more wait.")
    breaker_max_open_s: Seconds = setting(
        10.0, "Longest time for which a failing server is not called; then a few calls try whether it is back."
    )
    retry_share: Annotated[float, Field(ge=0, le=1)] = setting(
        0.1, "Retries as a share of the calls, in each process; a few more are allowed after a quiet time."
    )

    MOST_SERVERS: ClassVar[int] = 1

    @field_validator("url")
    @classmethod
    def _must_be_http(cls, url: str | None) -> str | None:
        urls = split_commas(url or "")
        if url is not None and not (urls and all(is_url(one, ("http", "https")) for one in urls)):
            raise ValueError("must be the root of a server: http://HOST:PORT or https://HOST")
        if len(urls) > cls.MOST_SERVERS or len(set(urls)) < len(urls):
            raise ValueError(f"names a server twice, or more than {cls.MOST_SERVERS}")
        return url

    @property
    def urls(self) -> list[str]:
        """The URL of each server; none without a server."""
        urls: list[str] = split_commas(self.url or "")
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

    encoder_url: str | None = setting(
        None,
        "Root URL of the picture encoder, for a version whose pictures are soft tokens. Several, separated by commas, "
        "are those of several versions; workers ask the one that has the version.",
    )
    encoder_timeout_s: Seconds = setting(30.0, "Timeout of encoding one picture.")

    @field_validator("encoder_url")
    @classmethod
    def _must_be_encoders(cls, url: str | None) -> str | None:
        if not url:
            # As compose files set what they leave open.
            return None
        if not (split_commas(url) and all(is_url(one, ("http", "https")) for one in split_commas(url))):
            raise ValueError("must be the root of an encoder: http://HOST:PORT or https://HOST")
        return url

    @property
    def encoder_urls(self) -> list[str]:
        """The URL of each encoder; none without one."""
        urls: list[str] = split_commas(self.encoder_url or "")
        return urls


class FollowedSettings(EncodedSettings):
    """A model whose promotions are followed while the service runs."""

    allowed_urls: Names = setting(
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
    url: str | None = setting(
        None,
        "Root URL of the server, without /v1. Several, separated by commas, are replicas of one model: the requests of "
        "a user go to the same one while it works.",
    )
    mode: Literal["score", "chat"] = setting(
        "score",
        "`score` for a pooling server (asked by `/classify` if the version's pictures are soft tokens), `chat` for a "
        "generating server with label log-probabilities.",
    )
    follow_every_s: Seconds = setting(2.0, "Interval at which a gateway looks for promotions in the model store.")


class EmbedderSettings(FollowedSettings):
    """The servers of the model that makes vectors of items; without a URL there are none. With `version` NAME or
    NAME@production, workers follow promotions, and gateways change over once the new vectors are complete."""

    MOST_SERVERS: ClassVar[int] = 8
    url: str | None = setting(
        None,
        "Root URL of the server, without /v1. Several, separated by commas, may serve different versions, so that the "
        "vectors of a new one are made while the old one is in use.",
    )
    poll_s: Seconds = setting(0.3, "Interval at which a gateway reads the vectors that changed.")
    check_every_s: Seconds = setting(
        10.0, "Interval at which one worker looks for items without a vector of the current version."
    )
    qdrant_url: str | None = setting(
        None,
        "URL of a Qdrant server: gateways search the vectors there, where a worker copies them to, instead of in the "
        "memory of each gateway process. Needs the extra `qdrant`.",
    )
    qdrant_api_key: SecretStr | None = setting(None, "API key of the Qdrant server.")

    @field_validator("url", "qdrant_url", mode="before")
    @classmethod
    def _may_be_left_open(cls, url: str | None) -> str | None:
        # As compose files do.
        return url or None

    @field_validator("qdrant_url")
    @classmethod
    def _must_be_qdrant(cls, url: str | None) -> str | None:
        if url is not None and not is_url(url, ("http", "https")):
            raise ValueError("must be the URL of a Qdrant server: http://HOST:PORT or https://HOST")
        return url

    @model_validator(mode="after")
    def _must_name_a_version(self) -> Self:
        if self.url is not None and self.version is None:
            raise ValueError("with a URL, VERSION must be set")
        return self
