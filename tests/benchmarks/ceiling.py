"""The least that an event service can do: parse the JSON, append every event to a Redis stream, answer."""

import sys

import orjson
import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.heap import freeze_heap
from tests.benchmarks.traffic import answer


def create_app(url: str) -> Starlette:
    """`POST /events` with one XADD per event, one round trip per request."""
    client = redis.asyncio.Redis.from_url(url, protocol=2)

    async def post_events(request: Request) -> Response:
        body = orjson.loads(await request.body())
        events = body if isinstance(body, list) else [body]
        pipeline = client.pipeline(transaction=False)
        for event in events:
            pipeline.execute_command("XADD", "events", "*", "e", orjson.dumps(event))
        await pipeline.execute()
        return Response(answer(len(events)), 202, media_type="application/json")

    async def healthz(request: Request) -> Response:
        return Response("ok")

    return Starlette(routes=[Route("/events", post_events, methods=["POST"]), Route("/healthz", healthz)])


def main() -> None:
    """Serve on the port and the Redis of the command line, as the gateway is served."""
    app = create_app(sys.argv[2])
    freeze_heap()
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
