"""uvicorn's server in the event loop of a test."""

import asyncio
import contextlib
import socket

import uvicorn

_LOOK_S = 0.005


class HttpServer(uvicorn.Server):
    """Ends as soon as it may: uvicorn's own looks ten times a second whether it should, and as often whether it can."""

    # Signals belong to the test runner.
    capture_signals = contextlib.nullcontext  # type: ignore[assignment]

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 - `should_exit` is a plain attribute
            await asyncio.sleep(_LOOK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state = self.server_state
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110 - these are plain, too
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            for task in state.tasks:
                task.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()
