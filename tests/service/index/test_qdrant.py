"""Every fault of a Qdrant server is the same exception. The servers are doubles."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import numpy as np
import pytest

from service.index.qdrant import QdrantIndex, open_qdrant
from service.index.vector_index import IndexUnavailable

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
ROWS = np.eye(2, dtype=np.float32)
CALLS: dict[str, Callable[[QdrantIndex], object]] = {
    "create": lambda index: index.create(),
    "count": len,
    "upsert": lambda index: index.upsert(["tea"], ROWS[:1]),
    "remove": lambda index: index.remove(["tea"]),
    "search": lambda index: index.search(ROWS, 1),
    "rows": lambda index: index.rows(["tea"]),
    "delete": lambda index: index.delete(),
}


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that gives one answer and closes; with None it never answers. Yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def response(status: str, body: str, more: str = "") -> bytes:
    kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{more}"
    return f"HTTP/1.1 {status}\r\n{kind}\r\n{body}".encode()


@pytest.mark.parametrize(
    "answer",
    [
        response("500 Internal Server Error", "{}"),
        response("401 Unauthorized", "{}"),
        response("429 Too Many Requests", "{}", "retry-after: 1\r\n"),
        response("200 OK", "no JSON"),
        response("200 OK", '{"result": 7}'),
        b"",
        None,
    ],
    ids=["fails", "refuses", "overloaded", "no JSON", "another shape", "hangs up", "hangs"],
)
def test_a_server_that_fails_is_unavailable(answer: bytes | None) -> None:
    with answering(answer) as url, pytest.raises(IndexUnavailable):
        QdrantIndex("embedder@1", 2, open_qdrant(url), "items").create()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(IndexUnavailable):
        QdrantIndex("embedder@1", 2, open_qdrant("http://127.0.0.1:1"), "items").create()


class Failing:
    """A client whose server fails from a moment on."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if self.error is not None:
            raise self.error
        return getattr(self._client, name)


@pytest.mark.parametrize("call", CALLS)
def test_each_call_of_an_index_says_so(call: str) -> None:
    from qdrant_client.http.exceptions import ResponseHandlingException

    client: Any = Failing(open_qdrant(":memory:"))
    index = QdrantIndex("embedder@1", 2, client, "items")
    index.create()
    CALLS[call](index)
    client.error = ResponseHandlingException(TimeoutError())
    with pytest.raises(IndexUnavailable, match="Qdrant"):
        CALLS[call](index)
