"""What the ranker is shown of candidates: their words, and their pictures in the form that it reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_store.registry.manifest import Manifest
from model_store.views import ItemView
from service.metrics import Metrics
from service.pictures.store import PictureStore
from service.pictures.tokens import Tokens, TokenStore
from service.recommend.deadline import Deadline
from service.recommend.optional import optional
from service.recommend.token_requests import TokenRequests
from service.state.records import Item
from service.state.views import item_view

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Views:
    """The views of candidates, in their order. `lacking` are the ids of those whose picture should have been there."""

    views: list[ItemView]
    lacking: frozenset[str] = _NOTHING


class Sight:
    """Reads what rankers see.

    Args:
        requests: asks for missing soft tokens; None without an encoder.
    """

    def __init__(
        self, pictures: PictureStore, tokens: TokenStore, requests: TokenRequests | None, metrics: Metrics
    ) -> None:
        self._pictures = pictures
        self._tokens = tokens
        self._requests = requests
        self._metrics = metrics

    async def show(self, version: Manifest | None, items: Sequence[Item], deadline: Deadline) -> Views:
        """The candidates as the version sees them; what can't be read in time is left out."""
        if version is not None and version.picture_tokens is not None:
            return await self._show_tokens(version, items, deadline)
        pictures: Mapping[str, bytes] = {}
        with optional("pictures", self._metrics):
            async with deadline.limit():
                pictures = await self._pictures.read_many(item.picture for item in items if item.picture)
        return Views([item_view(item, pictures.get(item.picture or "")) for item in items])

    async def _show_tokens(self, version: Manifest, items: Sequence[Item], deadline: Deadline) -> Views:
        pictured = [item for item in items if item.picture]
        encoded = [item for item in pictured if version.encoder_id in item.encoded]
        tokens = None
        with optional("picture_tokens", self._metrics):
            async with deadline.limit():
                tokens = await self._tokens.read_many(version, [item.picture or "" for item in encoded])
        found, refused = tokens or Tokens({}, _NOTHING)
        gone = [item for item in encoded if item.picture not in found]
        self._count(items, pictured, encoded, gone, refused, read=tokens is not None)
        if self._requests is not None:
            awaited = [item for item in pictured if version.encoder_id not in item.encoded]
            self._requests.ask(version.encoder_id, awaited, gone if tokens is not None else ())
        views = [item_view(item, picture_tokens=found.get(item.picture or "")) for item in items]
        return Views(views, frozenset(item.item_id for item in gone))

    def _count(
        self,
        items: Sequence[Item],
        pictured: Sequence[Item],
        encoded: Sequence[Item],
        gone: Sequence[Item],
        refused: frozenset[str],
        *,
        read: bool,
    ) -> None:
        bad = sum(item.picture in refused for item in gone)
        counts = Counter(
            used=len(encoded) - len(gone),
            awaited=len(pictured) - len(encoded),
            no_picture=len(items) - len(pictured),
            refused=bad,
        )
        counts["lost" if read else "unreadable"] = len(gone) - bad
        for result, number in counts.items():
            if number:
                self._metrics.picture_tokens.labels(result).inc(number)
