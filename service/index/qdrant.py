"""An index in Qdrant, for catalogues that don't fit into the memory of each gateway. Needs the extra `qdrant`.

One worker fills a collection, and all gateways search it.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import NDArray

from model_store.errors import UserError
from service.index.vector_index import Floats, Found, IndexUnavailable, VectorIndex
from service.settings.engines import EmbedderSettings

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_BATCH = 1000
_ITEM = "item"
_TIMEOUT_S = 1
"""Half of the usual deadline of a request. The client takes whole seconds."""


def open_qdrant(url: str, api_key: str | None = None, timeout_s: int = _TIMEOUT_S) -> "QdrantClient":
    """A client of the server at `url`; `:memory:` is one in this process. No server is asked yet.

    Args:
        timeout_s: for one call.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise UserError("Qdrant needs the extra: pip install 'tastestream[qdrant]'") from None
    # Otherwise it asks the server for its version, and warns if there is none.
    return QdrantClient(location=url, api_key=api_key, timeout=timeout_s, check_compatibility=False)


def open_qdrant_of(settings: EmbedderSettings, timeout_s: int = _TIMEOUT_S) -> "QdrantClient | None":
    """A client of the server in the settings; None if they name none.

    Raises:
        UserError: the extra is not installed.
    """
    if settings.qdrant_url is None:
        return None
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    return open_qdrant(settings.qdrant_url, key, timeout_s)


def collections_of(client: "QdrantClient") -> set[str]:
    """The names of all collections. Raises IndexUnavailable if the server fails."""
    with _asking():
        return {one.name for one in client.get_collections().collections}


class QdrantIndex(VectorIndex):
    """The collection `name`. It is not called before the first search or change."""

    remote: ClassVar[bool] = True

    def __init__(self, version: str, dimensions: int, client: "QdrantClient", name: str) -> None:
        from qdrant_client import models

        super().__init__(version, dimensions)
        self._client, self._models, self._name = client, models, name

    def create(self) -> None:
        """Create the collection if it does not exist."""
        vectors = self._models.VectorParams(size=self.dimensions, distance=self._models.Distance.DOT)
        with _asking():
            if not self._client.collection_exists(self._name):
                self._client.create_collection(self._name, vectors_config=vectors)

    def delete(self) -> None:
        """Delete the collection if it exists."""
        with _asking():
            if self._client.collection_exists(self._name):
                self._client.delete_collection(self._name)

    def __len__(self) -> int:
        with _asking():
            return int(self._client.count(self._name, exact=True).count)

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        given = self.checked(vectors, len(ids)).astype(np.float32)
        last = {item: row for row, item in enumerate(ids)}
        points = [
            self._models.PointStruct(id=_point(item), vector=given[row].tolist(), payload={_ITEM: item})
            for item, row in last.items()
        ]
        with _asking():
            for start in range(0, len(points), _BATCH):
                self._client.upsert(self._name, points[start : start + _BATCH], wait=True)

    def remove(self, ids: Collection[str]) -> None:
        points = self._models.PointIdsList(points=[_point(item) for item in ids])
        if points.points:
            with _asking():
                self._client.delete(self._name, points, wait=True)

    def search(
        self,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        wanted = self.checked(queries).astype(np.float32)
        if k <= 0:
            return [Found([], np.empty(0, dtype=np.float32)) for _ in wanted]
        requests = [
            self._models.QueryRequest(
                query=query.tolist(), limit=k, with_payload=True, filter=self._filter(allowed, excluded)
            )
            for query in wanted
        ]
        with _asking():
            answers = self._client.query_batch_points(self._name, requests)
        return [_found(answer.points) for answer in answers]

    def rows(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        wanted = [_point(item) for item in dict.fromkeys(ids)]
        with _asking():
            points = self._client.retrieve(self._name, wanted, with_payload=[_ITEM], with_vectors=True)
        vectors = {point.payload[_ITEM]: point.vector for point in points if point.payload}
        found = np.zeros((len(ids), self.dimensions), dtype=np.float32)
        has = np.array([item in vectors for item in ids], dtype=np.bool_)
        for place in np.flatnonzero(has).tolist():
            found[place] = vectors[ids[place]]
        return found, has

    def _filter(self, allowed: Collection[str] | None, excluded: Collection[str]) -> Any:
        def has(ids: Collection[str]) -> Any:
            return self._models.HasIdCondition(has_id=[_point(item) for item in ids])

        return self._models.Filter(
            must=[has(allowed)] if allowed is not None else None, must_not=[has(excluded)] if excluded else None
        )


@contextmanager
def _asking() -> Iterator[None]:
    """Raises IndexUnavailable for whatever Qdrant's client raises when a server fails."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, QdrantException, ValueError) as error:
        # A ValueError is an answer that is no JSON, or in local mode a collection that is missing.
        raise IndexUnavailable(f"Qdrant: {type(error).__name__}") from error


def _point(item: str) -> str:
    """The id of an item's point, which must be a UUID."""
    return str(uuid5(NAMESPACE_OID, item))


def _found(points: Sequence[Any]) -> Found:
    ids = [str(point.payload[_ITEM]) for point in points]
    return Found(ids, np.array([point.score for point in points], dtype=np.float32))
