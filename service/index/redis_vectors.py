"""An index in a vector set of Redis 8, for catalogues that don't fit into the memory of each gateway.

A vector set is one key, so it is on one server also in a cluster. Its search is approximate (HNSW); unit vectors only,
since it compares by cosine.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.index.vector_index import Floats, Found, VectorIndex

_BATCH = 1000


class Pipeline(Protocol):
    def execute_command(self, *words: Any) -> Any: ...

    def execute(self) -> list[Any]: ...


class Client(Protocol):
    """What is used of `redis.Redis`."""

    def pipeline(self, transaction: bool) -> Pipeline: ...


class RedisVectorIndex(VectorIndex):
    """
    Args:
        key: of the vector set; every version needs its own.
        quantization: `Q8` takes a quarter of the memory of `NOQUANT`, with a little less recall.
    """

    def __init__(self, version: str, dimensions: int, client: Client, key: str, quantization: str = "NOQUANT") -> None:
        super().__init__(version, dimensions)
        self._client, self._key, self._quantization = client, key, quantization

    def __len__(self) -> int:
        (count,) = self._run([("VCARD", self._key)])
        return int(count or 0)

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        given = self.checked(vectors, len(ids))
        self._run(
            ("VADD", self._key, "FP32", _blob(vector), item, self._quantization)
            for item, vector in zip(ids, given, strict=True)
        )

    def remove(self, ids: Collection[str]) -> None:
        self._run(("VREM", self._key, item) for item in ids)

    def search(
        self,
        queries: NDArray[np.floating[Any]],
        k: int,
        *,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] = (),
    ) -> list[Found]:
        wanted, hidden = self.checked(queries).astype(np.float32), set(excluded)
        if k <= 0:
            return [Found([], np.empty(0, dtype=np.float32)) for _ in wanted]
        if allowed is not None:
            return self._among([item for item in dict.fromkeys(allowed) if item not in hidden], wanted, k)
        most = k + len(hidden)
        answers = self._run(
            ("VSIM", self._key, "FP32", _blob(query), "WITHSCORES", "COUNT", most, "EF", max(most, 200))
            for query in wanted
        )
        return [_found(answer, hidden, k) for answer in answers]

    def rows(self, ids: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        answers = self._run(("VEMB", self._key, item) for item in ids)
        found = np.zeros((len(ids), self.dimensions), dtype=np.float32)
        has = np.array([answer is not None for answer in answers], dtype=np.bool_)
        for place in np.flatnonzero(has).tolist():
            found[place] = [float(number) for number in answers[place]]
        return found, has

    def _among(self, ids: Sequence[str], queries: Floats, k: int) -> list[Found]:
        """The best of few items, compared here: a filter of the vector set would visit all others."""
        vectors, has = self.rows(ids)
        known = [item for item, there in zip(ids, has.tolist(), strict=True) if there]
        scores = queries @ vectors[has].T
        orders = [np.argsort(-row, kind="stable")[:k] for row in scores]
        return [Found([known[place] for place in order], row[order]) for order, row in zip(orders, scores, strict=True)]

    def _run(self, commands: Any) -> list[Any]:
        """The answers to commands, in round trips of `_BATCH`."""
        answers: list[Any] = []
        left = iter(commands)
        while batch := list(islice(left, _BATCH)):
            pipeline = self._client.pipeline(transaction=False)
            for command in batch:
                pipeline.execute_command(*command)
            answers += pipeline.execute()
        return answers


def _blob(vector: NDArray[np.floating[Any]]) -> bytes:
    return vector.astype("<f4").tobytes()


def _found(answer: Any, hidden: Collection[str], k: int) -> Found:
    """From similarities in 0..1 to cosines. RESP2 answers with a flat list, RESP3 with a map."""
    kept = [(item, 2 * float(score) - 1) for item, score in _pairs(answer) if item not in hidden][:k]
    return Found([item for item, _ in kept], np.array([score for _, score in kept], dtype=np.float32))


def _pairs(answer: Any) -> Iterator[tuple[str, Any]]:
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return ((item.decode() if isinstance(item, bytes) else item, score) for item, score in pairs)
