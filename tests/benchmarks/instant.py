"""A server that answers like vLLM, at once: what is left of a call's cost is its caller's."""

import asyncio
import sys

import orjson
import uvloop

SUMMARY = "This user enjoys calm harbours, towers, long rivers and lamps at night. " * 3


class Instant(asyncio.Protocol):
    """Answers `/score` with one probability per candidate, and anything else with one summary."""

    def __init__(self, candidates: int) -> None:
        self._received = bytearray()
        choice = {"index": 0, "message": {"role": "assistant", "content": SUMMARY}, "finish_reason": "stop"}
        scores = [{"index": index, "object": "score", "score": 0.5} for index in range(candidates)]
        self._summary = _response({"object": "chat.completion", "choices": [choice]})
        self._scores = _response({"object": "list", "data": scores})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        _, named, length = head.lower().partition(b"content-length:")
        whole = len(head) + len(end) + (int(length.split(b"\r\n")[0]) if named else 0)
        if len(self._received) >= whole:
            self._transport.write(self._scores if head.startswith(b"POST /score") else self._summary)  # type: ignore[attr-defined]
            del self._received[:whole]


def _response(body: object) -> bytes:
    content = orjson.dumps(body)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def main(port: int, candidates: int) -> None:
    """Serve on the port and for the number of candidates of the command line."""
    server = await asyncio.get_running_loop().create_server(lambda: Instant(candidates), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
