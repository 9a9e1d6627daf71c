"""`tastestream events export` writes a whole dataset that reads as what was sent, or nothing."""

import asyncio
import base64
import json
import random
from pathlib import Path

import httpx
import pytest

from model_store.data.dataset import Interaction, read_dataset, write_interactions
from model_store.data.rows import InteractionRow
from model_store.demo.world import generate
from model_store.errors import UserError
from service.cli import events
from service.cli.dataset_files import new_dataset, new_file
from service.settings import Settings
from service.state.store import Store
from tests.service.cli.conftest import NOW_MS, Run, accept, event, on_store
from tests.service.conftest import gateway_on


async def post_world(settings: Settings, folder: Path) -> None:
    """Send a dataset to a gateway as callers do: items with pictures, events in batches of random size."""
    world, rng = read_dataset(folder), random.Random(0)
    async with gateway_on(settings) as gateway:
        for item in world.items.values():
            assert item.image is not None
            picture = base64.b64encode(item.image.read_bytes()).decode()
            fields = {"title": item.title, "genres": item.genres, "image_base64": picture}
            answer = await gateway.ask("PUT", f"/items/{item.item_id}", json=fields)
            assert answer.status_code == 201
        left = {user: list(history) for user, history in world.histories.items()}
        while left:
            user = rng.choice(list(left))
            portion = [left[user].pop(0) for _ in range(min(rng.randint(1, 9), len(left[user])))]
            answer = await gateway.ask("POST", "/events", json=[_wire(user, one) for one in portion])
            assert answer.json()["accepted"] == len(portion)
            left = {user: history for user, history in left.items() if history}


def _wire(user: str, one: Interaction) -> dict[str, object]:
    return {"user_id": user, "item_id": one.item_id, "type": one.type, "timestamp": one.timestamp}


def test_a_world_that_was_posted_is_read_back_as_it_was(
    settings: Settings, tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 7)
    generate(tmp_path / "world", seed=1, items=30, users=25, picture_side=32, events=(5, 20))
    asyncio.run(post_world(settings, tmp_path / "world"))
    ended = tastestream("events", "export", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert not any(path.stat().st_mode & 0o077 for path in (tmp_path / "out").rglob("*"))
    sent, read = read_dataset(tmp_path / "world"), read_dataset(tmp_path / "out")
    assert read.histories == sent.histories
    assert list(read.histories) == sorted(sent.histories)
    assert {i.item_id: (i.title, i.genres) for i in read.items.values()} == {
        i.item_id: (i.title, i.genres) for i in sent.items.values()
    }
    for item in read.items.values():
        assert item.image is not None
        assert item.image.read_bytes().startswith(b"\xff\xd8")
    printed = " ".join(ended.out.split())
    count = sum(map(len, sent.histories.values()))
    assert f"users 25 interactions {count} from, to 2025-" in printed
    assert "items 30, 30 of them with a picture" in printed
    assert f"event log {count} of at most 1,000,000 events (0%)" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "interactions.csv", "items.jsonl"]


def test_the_remains_of_a_killed_export_are_not_read_as_a_dataset(tastestream: Run, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".partial-1" / "images"
    left.mkdir(parents=True)
    assert tastestream("events", "export", str(tmp_path / "out")).code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} > {"images", "interactions.csv", "items.jsonl"}


async def several(store: Store) -> None:
    await accept(
        store,
        event("b", 1, timestamp_ms=NOW_MS + 500, type="view"),
        event("b", 2, timestamp_ms=NOW_MS, type="purchase", value=9.99),
        event("b", 3, timestamp_ms=NOW_MS, type="rating", value=4.5),
        event("b", 4, timestamp_ms=NOW_MS, type="rating", value=1.0, context={"a": "é"}, recommendation_id="r"),
        event("a", 5, timestamp_ms=NOW_MS + 86_400_000, type="like"),
        event("a,\"'", 6, timestamp_ms=NOW_MS),
    )


@pytest.fixture
def filled(settings: Settings) -> Settings:
    on_store(settings, several)
    return settings


def test_rows_are_sorted_by_user_and_time_and_a_rating_becomes_a_rating(
    filled: Settings, tastestream: Run, tmp_path: Path
) -> None:
    assert tastestream("events", "export", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out" / "interactions.csv").read_text().splitlines() == [
        "user_id,item_id,timestamp,rating,type",
        "a,item-5,1750086400,,like",
        '"a,""\'",item-6,1750000000,,click',
        "b,item-2,1750000000,,purchase",
        "b,item-3,1750000000,4.5,",
        "b,item-4,1750000000,1.0,",
        "b,item-1,1750000000.5,,view",
    ]
    read = read_dataset(tmp_path / "out").histories["b"]
    assert [one.type for one in read] == ["purchase", "rating", "rating", "view"]
    assert [(one.liked, one.disliked) for one in read[:3]] == [(True, False), (True, False), (False, True)]


@pytest.mark.parametrize(
    ("options", "items"),
    [
        (("--since", "2025-06-16"), {"item-5"}),
        (("--until", "2025-06-15T15:06:40.5Z"), {"item-2", "item-3", "item-4", "item-6"}),
        (("--since", "1750000000.5", "--until", "1750000001"), {"item-1"}),
    ],
)
def test_only_what_happened_in_the_given_time_is_exported(
    filled: Settings, tastestream: Run, tmp_path: Path, options: tuple[str, ...], items: set[str]
) -> None:
    assert tastestream("events", "export", str(tmp_path / "out"), *options).code == 0
    histories = read_dataset(tmp_path / "out").histories.values()
    assert {one.item_id for history in histories for one in history} == items


def test_a_wrong_time_is_named(tastestream: Run, tmp_path: Path) -> None:
    ended = tastestream("events", "export", str(tmp_path / "out"), "--since", "yesterday")
    assert ended.code == 2
    assert "yesterday" in ended.err
    assert "RFC 3339" in ended.err


def test_a_folder_that_is_not_empty_is_replaced_only_by_force_and_only_the_dataset_in_it(
    filled: Settings, tastestream: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / "old.png").write_text("old")
    (out / "notes.txt").write_text("mine")
    ended = tastestream("events", "export", str(out))
    assert ended.code == 1
    assert "is not empty: use another folder, or --force" in ended.err
    assert sorted(path.name for path in out.iterdir()) == ["images", "notes.txt"]
    assert tastestream("events", "export", str(out), "--force").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["images", "interactions.csv", "items.jsonl", "notes.txt"]
    assert list((out / "images").iterdir()) == []
    assert tastestream("events", "export", str(out), "--force", "--no-items").code == 0
    assert (out / "items.jsonl").exists()


def test_a_failed_export_changes_nothing(
    filled: Settings, tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    assert tastestream("events", "export", str(old)).code == 0
    before = (old / "interactions.csv").read_bytes()

    def interrupted(*_: object) -> None:
        raise asyncio.CancelledError

    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    for breaking in (interrupted, fails):
        monkeypatch.setattr(events, "write_interactions", breaking)
        for folder in (str(old), str(new)):
            try:
                ended = tastestream("events", "export", folder, "--force")
            except asyncio.CancelledError:
                assert breaking is interrupted
            else:
                assert (ended.code, "no space left" in ended.err) == (1, True)
    assert not new.exists()
    assert (old / "interactions.csv").read_bytes() == before
    assert sorted(path.name for path in old.iterdir()) == ["images", "interactions.csv", "items.jsonl"]


def test_pictures_can_be_left_out_and_missing_ones_are_counted(
    settings: Settings, tastestream: Run, tmp_path: Path
) -> None:
    generate(tmp_path / "world", seed=1, items=5, users=1, picture_side=32, events=(2, 3))
    asyncio.run(post_world(settings, tmp_path / "world"))
    tastestream("events", "export", str(tmp_path / "bare"), "--no-images")
    assert not read_dataset(tmp_path / "bare").has_pictures
    first = next(path for path in (settings.data_dir / "pictures").rglob("*") if path.is_file())
    first.unlink()
    ended = tastestream("events", "export", str(tmp_path / "out"))
    assert "pictures missing 1" in " ".join(ended.out.split())
    assert sum(item.image is None for item in read_dataset(tmp_path / "out").items.values()) == 1


def test_exported_events_can_be_posted_again_as_duplicates(filled: Settings, tastestream: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    assert tastestream("events", "export", "--ndjson", str(file)).code == 0
    assert file.read_bytes().isascii()
    (odd,) = [fields for line in file.read_text().splitlines() if (fields := json.loads(line))["item_id"] == "item-4"]
    assert (odd["context"], odd["recommendation_id"], odd["value"]) == ({"a": "é"}, "r", 1.0)

    async def post() -> httpx.Response:
        async with gateway_on(filled) as gateway:
            content = file.read_bytes()
            return await gateway.ask(
                "POST", "/events", content=content, headers={"content-type": "application/x-ndjson"}
            )

    answer = asyncio.run(post()).json()
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (0, 6, [])
    assert "exists: use another file" in tastestream("events", "export", "--ndjson", str(file)).err
    assert tastestream("events", "export", "--ndjson", str(file), "--force").code == 0


def test_events_of_the_same_time_keep_the_order_of_their_acceptance(
    settings: Settings, tastestream: Run, tmp_path: Path
) -> None:
    numbers = [5, 9, 1, 7, 3]
    on_store(settings, lambda store: accept(store, *(event("ann", number) for number in numbers)))
    assert tastestream("events", "export", str(tmp_path / "out")).code == 0
    history = read_dataset(tmp_path / "out").histories["ann"]
    assert [one.item_id for one in history] == [f"item-{number}" for number in numbers]


def test_a_half_replaced_dataset_is_not_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("items.jsonl", "interactions.csv"):
        (out / name).write_text("old")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def replace() -> None:
        with new_dataset(out, force=True) as partial:
            for name in ("items.jsonl", "interactions.csv"):
                (partial / name).write_text("new")
            monkeypatch.setattr(Path, "replace", die)

    with pytest.raises(KeyboardInterrupt):
        replace()
    assert not (out / "interactions.csv").exists()


def test_a_failed_export_of_events_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("before")

    def break_off() -> None:
        with new_file(file, force=True) as lines:
            lines.write("half")
            raise OSError("no space left on device")

    with pytest.raises(UserError, match="can't be written: no space left"):
        break_off()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("events.ndjson", "before")]


def test_one_of_folder_and_file_must_be_named(tastestream: Run, tmp_path: Path) -> None:
    for arguments in ((), (str(tmp_path / "a"), "--ndjson", str(tmp_path / "b"))):
        ended = tastestream("events", "export", *arguments)
        assert (ended.code, "--ndjson FILE" in ended.err) == (2, True)


def test_a_failure_leaves_an_old_folder_unchanged_and_no_new_one(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.mkdir()

    def break_off(folder: Path) -> None:
        with new_dataset(folder, force=False) as partial:
            (partial / "items.jsonl").write_text("half")
            raise OSError("no space left on device")

    for folder in (there, new):
        with pytest.raises(UserError, match="can't be written: no space left"):
            break_off(folder)
    assert list(tmp_path.rglob("*")) == [there]


def test_rows_of_the_same_time_keep_their_order(tmp_path: Path) -> None:
    rows = [InteractionRow(user, item, time) for item, user, time in (("5", "b", 2), ("9", "a", 1.25), ("1", "b", 2))]
    rows += [InteractionRow("b", "7", 1, 4.5, ""), InteractionRow("b", "3", 2, None, "like")]
    assert write_interactions(tmp_path, rows) == 2
    assert (tmp_path / "interactions.csv").read_text().split() == [
        "user_id,item_id,timestamp,rating,type",
        "a,9,1.25,,",
        "b,7,1,4.5,",
        "b,5,2,,",
        "b,1,2,,",
        "b,3,2,,like",
    ]
