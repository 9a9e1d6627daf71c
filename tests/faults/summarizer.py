"""A summarizer behind HTTP, as vLLM's, that tells what it was asked and misbehaves as it is told."""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

WORD = re.compile(r"\bu\d+-\d+\b")
HEAD = b"connection: close\r\ncontent-type: application/json\r\n"
SLOW_S = 0.3


class Mood(StrEnum):
    """What becomes of one prompt."""

    good = "good"
    slow = "slow"
    failing = "failing"
    """500."""
    empty = "empty"
    """An answer without words."""
    endless = "endless"
    """No answer, and the connection stays open."""
    streaming = "streaming"
    """An answer that never ends."""
    disconnecting = "disconnecting"


async def at_once(words: list[str]) -> None:
    """Keep no prompt waiting."""


def always_good(words: list[str]) -> Mood:
    return Mood.good


@dataclass
class SummarizerServer:
    """Answers a prompt with the item titles in it, in their order: the old summary's, then the block's.

    A summary therefore tells what was folded into it, in which order.

    Args:
        before_answer: awaited with a prompt's titles before its answer.
        mood: says by a prompt's titles what becomes of it.
    """

    before_answer: Callable[[list[str]], Awaitable[None]] = at_once
    mood: Callable[[list[str]], Mood] = always_good
    asked: list[list[str]] = field(default_factory=list)
    """The titles of every prompt, the failed ones included."""
    url: str = ""
    _answering: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "SummarizerServer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._server.wait_closed()

    def heal(self) -> None:
        """Answer every prompt from now on."""
        self.before_answer, self.mood = at_once, always_good

    def asked_about(self, user: str) -> list[list[str]]:
        """The prompts that held an event of `user`."""
        return [words for words in self.asked if any(word.startswith(f"{user}-") for word in words)]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            if length is None:
                writer.write(_answer({"data": [{"id": "double"}]}))
            else:
                prompt = json.loads(await reader.readexactly(int(length[1])))["messages"][0]["content"]
                await self._complete(prompt, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, prompt: str) -> str:
        """What a good answer says."""
        return " ".join(WORD.findall(prompt))

    async def _complete(self, prompt: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = WORD.findall(prompt)
        self.asked.append(words)
        mood = self.mood(words)
        await self.before_answer(words)
        if mood is Mood.slow:
            await asyncio.sleep(SLOW_S)
        if mood is Mood.endless:
            await reader.read()
        elif mood is Mood.streaming:
            await _stream(writer)
        elif mood is Mood.failing:
            writer.write(_answer({"error": {"message": "told to fail"}}, "500 Internal Server Error"))
        elif mood is not Mood.disconnecting:
            text = "" if mood is Mood.empty else await self.answer(prompt)
            writer.write(_answer({"choices": [{"finish_reason": "stop", "message": {"content": text}}]}))


async def _stream(writer: asyncio.StreamWriter) -> None:
    """Send an answer that never ends, until the caller leaves."""
    writer.write(b"HTTP/1.1 200 OK\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


def _answer(body: object, status: str = "200 OK") -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\n".encode() + HEAD + f"content-length: {len(content)}\r\n\r\n".encode() + content
