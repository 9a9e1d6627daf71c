"""The models that a server serves."""

from contextlib import suppress

import orjson

from model_store.engine.client import VllmClient
from model_store.engine.errors import BadAnswer, EngineError

_TIMEOUT_S = 2.0


async def served_models(client: VllmClient) -> list[str]:
    """The names in `/v1/models`.

    Raises:
        EngineError: the server does not answer, or with something else.
    """
    listing = await client.get("/v1/models")
    try:
        return [str(entry["id"]) for entry in orjson.loads(listing)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadAnswer("malformed", f"{client.url}/v1/models is not a list of models: {error!r}") from None


async def served_if_up(client: VllmClient) -> list[str] | None:
    """As `served_models`; None if the server does not answer within seconds."""
    with suppress(EngineError):
        async with client.deadline(_TIMEOUT_S):
            return await served_models(client)
    return None
