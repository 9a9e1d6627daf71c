"""`tastestream data pictures` fetches what is missing, within bounds, and says what it could not get."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model_store.data.dataset import read_dataset
from service.cli.main import main
from service.pictures.decoder import PictureDecoder
from service.pictures.fetch import PictureFetcher
from tests.service.cli.conftest import Run
from tests.service.pictures.pictures import picture, png_that_claims

ITEMS = 40


class PictureServer(ThreadingHTTPServer):
    """Counts requests; `busy` paths are answered with 503 so many times first, `gate` holds up `/slow`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.gate = threading.Event()
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: PictureServer

    def do_GET(self) -> None:
        path, server = self.path, self.server
        server.asked[path] += 1
        if server.busy[path] > 0:
            server.busy[path] -= 1
            self._answer(503, b"")
        elif path == "/lie":
            self._answer(200, b"<html>not a picture</html>")
        elif path == "/bomb":
            self._answer(200, png_that_claims(60_000, 60_000))
        elif path == "/missing":
            self._answer(404, b"")
        elif path == "/slow":
            server.gate.wait(30)
        else:
            time.sleep(server.delay_s)
            self._answer(200, picture("JPEG", (900, 40), (len(path) * 9, 80, 20)))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "image/jpeg")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureServer]:
    monkeypatch.setenv("TASTESTREAM_PICTURES__ALLOW_PRIVATE_ADDRESSES", "true")
    with PictureServer() as found:
        serving = threading.Thread(target=found.serve_forever)
        serving.start()
        yield found
        found.gate.set()
        found.shutdown()
        serving.join()


def dataset(folder: Path, *urls: str) -> Path:
    folder.mkdir()
    items = [
        {"item_id": str(n), "title": f"T{n}", "image_url": url, "attributes": {"n": n}} for n, url in enumerate(urls)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\nu,0,1\n")
    return folder


def images(folder: Path) -> dict[str, Path]:
    return {item.item_id: item.image for item in read_dataset(folder).items.values() if item.image is not None}


def test_pictures_are_stored_re_encoded_and_named(tastestream: Run, tmp_path: Path, server: PictureServer) -> None:
    folder = dataset(tmp_path / "d", f"{server.url}/a", f"{server.url}/a", f"{server.url}/bb")
    assert tastestream("data", "pictures", str(folder)).code == 0
    found = images(folder)
    assert set(found) == {"0", "1", "2"}
    assert found["0"] == found["1"] != found["2"]
    with Image.open(found["0"]) as opened:
        assert max(opened.size) == 512
    assert server.asked == {"/a": 1, "/bb": 1}
    assert json.loads((folder / "items.jsonl").read_text().splitlines()[2])["attributes"] == {"n": 2}
    again = tastestream("data", "pictures", str(folder))
    assert "not there already" in again.out
    assert server.asked == {"/a": 1, "/bb": 1}


def test_bad_pictures_are_told_by_reason_and_hinder_no_other(
    tastestream: Run, tmp_path: Path, server: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTESTREAM_PICTURES__FETCH_TIMEOUT_S", "1")
    paths = ("good", "lie", "bomb", "missing", "slow")
    folder = dataset(tmp_path / "d", *(f"{server.url}/{path}" for path in paths), "ftp://x/y", "http://")
    rejects = tmp_path / "rejects.jsonl"
    ended = tastestream("data", "pictures", str(folder), "--attempts", "2", "--rejects", str(rejects))
    assert ended.code == 1
    assert set(images(folder)) == {"0"}
    reasons = {
        row["image_url"].rpartition("/")[2]: row["reason"] for row in map(json.loads, rejects.read_text().splitlines())
    }
    assert {path: reason.partition(":")[0] for path, reason in reasons.items()} == {
        "lie": "format",
        "bomb": "too_many_pixels",
        "missing": "status",
        "slow": "timeout",
        "y": "url",
        "": "url",
    }
    assert server.asked["/slow"] == 2, "it may answer later"
    assert server.asked["/missing"] == server.asked["/lie"] == 1, "they never will"


def test_a_busy_server_is_asked_again(tastestream: Run, tmp_path: Path, server: PictureServer) -> None:
    server.busy["/a"] = 2
    folder = dataset(tmp_path / "d", f"{server.url}/a")
    assert tastestream("data", "pictures", str(folder)).code == 0
    assert server.asked["/a"] == 3


def test_a_site_that_is_down_is_given_up(tastestream: Run, tmp_path: Path, server: PictureServer) -> None:
    server.busy = Counter({f"/{n}": 9 for n in range(200)})
    folder = dataset(tmp_path / "d", *(f"{server.url}/{n}" for n in range(200)))
    ended = tastestream("data", "pictures", str(folder), "--attempts", "1")
    assert ended.code == 1
    assert len(server.asked) < 40
    assert "not tried after" in ended.out


def test_private_networks_are_refused(tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dataset(tmp_path / "d", "http://127.0.0.1/a", "http://169.254.169.254/latest")
    ended = tastestream("data", "pictures", str(folder))
    assert ended.code == 1
    assert "private_address" in ended.out
    assert images(folder) == {}


@pytest.mark.parametrize("name", ["", "none/rejects"])
def test_a_file_of_failures_that_cannot_be_written_is_named_before_the_first_fetch(
    tastestream: Run, tmp_path: Path, name: str
) -> None:
    folder = dataset(tmp_path / "d", "http://127.0.0.1/a")
    ended = tastestream("data", "pictures", str(folder), "--rejects", str(tmp_path / name))
    assert ended.code == 1
    assert f"{tmp_path / name} can't be written" in ended.err
    assert not (folder / "images").exists()


def test_after_a_kill_only_what_is_missing_is_fetched(tastestream: Run, tmp_path: Path, server: PictureServer) -> None:
    server.delay_s = 0.1
    folder = dataset(tmp_path / "d", *(f"{server.url}/{n}" for n in range(ITEMS)))
    killed = subprocess.Popen([sys.executable, "-m", main.__module__, "data", "pictures", str(folder)])
    deadline = time.monotonic() + 60
    while len(stored := list((folder / "images").glob("*.jpg"))) < 8:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    stored = list((folder / "images").glob("*.jpg"))
    assert images(folder) == {}
    (folder / "images/.partial-1").write_bytes(b"half of a picture")
    server.asked.clear()
    server.delay_s = 0.0
    assert tastestream("data", "pictures", str(folder)).code == 0
    assert len(images(folder)) == ITEMS
    assert server.asked.total() == ITEMS - len(stored)
    assert len(list((folder / "images").iterdir())) == ITEMS


def test_processes_end_even_if_connections_can_not_be_closed(
    tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dataset(tmp_path / "d", "ftp://x/y")
    ended: list[PictureDecoder] = []

    async def failing(self: PictureFetcher) -> None:
        raise RuntimeError("no such connection")

    async def end(self: PictureDecoder) -> None:
        ended.append(self)

    monkeypatch.setattr(PictureFetcher, "close", failing)
    monkeypatch.setattr(PictureDecoder, "close", end)
    with pytest.raises(RuntimeError, match="no such connection"):
        tastestream("data", "pictures", str(folder))
    assert len(ended) == 1
