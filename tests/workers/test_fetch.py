"""Pictures are fetched once, after their items were stored; a host that does not answer delays only itself."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.pictures.fetch import PictureFetcher
from service.pictures.store import open_pictures
from service.settings import Settings
from service.settings.pictures import PictureSettings
from service.state.records import Item
from service.state.store import Store
from tests.service.pictures.pictures import picture
from tests.service.serving import serving
from tests.stores import dead_letters
from tests.workers.conftest import Start, Worker, event, put, text, until
from tests.workers.doubles import RecordingSummarizer
from workers import fetch

ANSWERS: dict[str, list[int]] = {}


async def show(request: Request) -> Response:
    """A picture, after the error statuses of the test."""
    statuses = ANSWERS.get(request.path_params["name"], [])
    if statuses:
        return Response(status_code=statuses.pop(0))
    return Response(picture("PNG", (50, 30)))


async def text_file(request: Request) -> Response:
    return Response(b"not a picture")


@pytest.fixture
async def server() -> AsyncIterator[str]:
    ANSWERS.clear()
    async with serving(Starlette(routes=[Route("/p/{name}", show), Route("/text", text_file)])) as url:
        yield url


@asynccontextmanager
async def dead_host() -> AsyncIterator[str]:
    """Accepts connections and never answers."""

    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(hold, "127.0.0.2", 0)
    async with listening:
        yield f"http://127.0.0.2:{listening.sockets[0].getsockname()[1]}"
        for writer in held:
            writer.close()


def fetching(settings: Settings, **pictures: Any) -> Settings:
    times = {"fetch_timeout_s": 60.0, "fetch_first_timeout_s": 60.0}
    quick = {"fetch_retry_initial_s": 0.01, "fetch_retry_max_s": 0.02, **times}
    given = PictureSettings(**{"allow_private_addresses": True, **quick, **pictures})
    return settings.model_copy(update={"pictures": given})


async def ask_for(store: Store, *urls: str) -> None:
    await store.items.put_many([Item(url, "title", picture_url=url) for url in urls], keep="picture")


async def settled(store: Store, item_id: str) -> bool:
    item = await store.items.get(item_id)
    return item is not None and item.picture_url is None


async def count(worker: Worker, outcome: str) -> float:
    return worker.count("fetch", outcome)


async def test_a_picture_is_fetched_checked_stored_and_described(
    store: Store, start: Start, settings: Settings, server: str
) -> None:
    worker = await start(RecordingSummarizer(), fetching(settings))
    url = f"{server}/p/a"
    await ask_for(store, url)
    await until(lambda: settled(store, url))
    item = await store.items.get(url)
    assert item is not None
    assert item.picture is not None
    assert item.picture_error is None
    assert await open_pictures(settings).read(item.picture)

    async def described() -> bool:
        item = await store.items.get(url)
        return item is not None and item.summary == "a picture of title"

    await until(described)
    assert await count(worker, "committed") == 1
    assert worker.metrics.pictures.labels("stored")._value.get() == 1


async def test_a_temporary_failure_of_a_host_is_retried(
    store: Store, start: Start, settings: Settings, server: str
) -> None:
    ANSWERS["a"] = [503, 429, 500]
    worker = await start(RecordingSummarizer(), fetching(settings, fetch_attempts=4))
    url = f"{server}/p/a"
    await ask_for(store, url)
    await until(lambda: settled(store, url))
    item = await store.items.get(url)
    assert item is not None
    assert item.picture is not None
    assert await count(worker, "retried") == 3


@pytest.mark.parametrize(
    ("path", "reason", "letters"),
    [
        ("/p/b", "status: the server answered 500", 1),
        ("/p/c", "status: the server answered 404", 0),
        ("/text", "format", 0),
    ],
)
async def test_a_failed_fetch_is_reported_and_a_temporary_failure_is_dead_lettered(
    store: Store, start: Start, settings: Settings, server: str, path: str, reason: str, letters: int
) -> None:
    ANSWERS.update({"b": [500] * 9, "c": [404] * 9})
    await start(RecordingSummarizer(), fetching(settings, fetch_attempts=3))
    url = server + path
    await ask_for(store, url)
    await until(lambda: settled(store, url))
    item = await store.items.get(url)
    assert item is not None
    assert (item.picture_error or "").startswith(reason)
    assert [letter.kind for letter in await dead_letters(store)] == ["fetch"] * letters
    if letters:
        ANSWERS.clear()
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        await until(lambda: settled(store, url))
        again = await store.items.get(url)
        assert again is not None
        assert again.picture is not None


async def test_a_dead_host_holds_its_own_slots_only(
    store: Store, start: Start, settings: Settings, server: str
) -> None:
    """80 pictures of one host once took all 16 slots: a picture of another host waited for 19 to 27 s."""
    async with dead_host() as dead:
        worker = await start(RecordingSummarizer(), fetching(settings, fetch_attempts=1))
        await ask_for(store, *(f"{dead}/{number}" for number in range(80)))

        async def busy() -> bool:
            return await count(worker, "released") >= 80

        await until(busy)
        good = [f"{server}/p/{number}" for number in range(10)]
        await ask_for(store, *good)
        for url in good:
            await until(lambda url=url: settled(store, url))
        assert await store.pictures.count() == 80
        assert await count(worker, "retried") == 0


async def test_silent_name_servers_delay_neither_other_pictures_nor_folds(
    store: Store, start: Start, settings: Settings, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak = threading.Event()

    def silent(host: bytes, port: int) -> Sequence[tuple[Any, ...]]:
        speak.wait(120)
        return []

    class Fetcher(PictureFetcher):
        def __init__(self, settings: PictureSettings) -> None:
            super().__init__(settings, lookup=silent)

    monkeypatch.setattr(fetch, "PictureFetcher", Fetcher)
    try:
        worker = await start(RecordingSummarizer(), fetching(settings))
        await ask_for(store, *(f"http://h{number}.silent.example/a.png" for number in range(200)))

        async def busy() -> bool:
            return await count(worker, "released") >= 190

        await until(busy)
        good = f"{server}/p/good"
        await ask_for(store, good)
        await until(lambda: settled(store, good))
        await put(store, [event("u", number) for number in range(3)])
        await until(lambda: _folded(store, "u"))
        loop = asyncio.get_running_loop()
        assert await loop.getaddrinfo("localhost", 80)
        assert await store.pictures.count() == 200
    finally:
        speak.set()


async def _folded(store: Store, user: str) -> bool:
    return await text(store, user) == f"{user}-0 {user}-1 {user}-2"


async def test_a_folder_that_cannot_be_written_costs_no_attempt(
    store: Store, start: Start, settings: Settings, server: str
) -> None:
    given = fetching(settings, fetch_attempts=1)
    blocked = settings.data_dir / "pictures"
    blocked.write_text("not a folder")
    worker = await start(RecordingSummarizer(), given)
    url = f"{server}/p/a"
    await ask_for(store, url)

    async def released() -> bool:
        return await count(worker, "released") >= 3

    await until(released)
    blocked.unlink()
    await until(lambda: settled(store, url))
    item = await store.items.get(url)
    assert item is not None
    assert item.picture is not None
    assert await store.dead_letters.count() == 0


async def test_an_item_that_is_put_or_deleted_meanwhile_is_left_alone(
    store: Store, start: Start, settings: Settings
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def late(request: Request) -> Response:
        entered.set()
        await go_on.wait()
        return Response(picture())

    async with serving(Starlette(routes=[Route("/{name}", late)])) as url:
        worker = await start(RecordingSummarizer(), fetching(settings))
        await ask_for(store, f"{url}/deleted", f"{url}/put")
        await entered.wait()
        await store.items.delete(f"{url}/deleted")
        await store.items.put(Item(f"{url}/put", "title"))
        go_on.set()

        async def lost() -> bool:
            return await count(worker, "lost") + await count(worker, "committed") >= 1

        await until(lost)
        await worker.drain()
        assert await store.items.get(f"{url}/deleted") is None
        item = await store.items.get(f"{url}/put")
        assert item is not None
        assert item.picture is None
