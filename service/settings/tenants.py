"""Settings of tenants: the model servers that one has instead of those of all."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, SecretStr, ValidationError

from service.names import read_name
from service.settings.declare import Level, setting
from service.settings.engines import EncodedSettings, EngineSettings

MOST_TENANTS = 100
"""Each has its own series, and its own look at its queues by every worker."""
TenantName = Annotated[str, AfterValidator(read_name)]

E = TypeVar("E", bound=EngineSettings)


class EngineChoice(Level):
    """A tenant's own model server or model. What is not set here is that of all tenants."""

    url: str | None = setting(None, "Its own server, or servers. Their API key is not that of the others.")
    model: str | None = setting(None, "Name under which the server serves the model; with it, no version is inherited.")
    version: str | None = setting(None, "Version in the model store; with it, no name of a served model is inherited.")
    api_key: SecretStr | None = setting(None, "API key of the server.")

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
    encoder_url: str | None = setting(None, "Its own picture encoder.")

    def instead_of(self, engine: E) -> E:
        if self.version is not None and self.encoder_url is None and isinstance(engine, EncodedSettings):
            # The encoder of another version makes other tokens.
            engine = engine.model_copy(update={"encoder_url": None})
        return super().instead_of(engine)


class TenantSettings(Level):
    """What a tenant has instead of the settings of all tenants."""

    ranker: EncodedChoice = EncodedChoice()
    summarizer: EngineChoice = EngineChoice()
    embedder: EncodedChoice = EncodedChoice()
