"""A dataset that was sent to the service and exported again trains the same model."""

import asyncio
import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from model_store.data.dataset import INTERACTIONS, ITEMS, Dataset, read_dataset
from model_store.demo.world import generate
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.teacher import RuleBasedTeacher, TermFinder
from model_store.pictures import PictureSize
from model_store.views import InteractionView, ItemView
from service.client.catalogue import load_missing
from service.client.client import ServiceClient
from service.settings import Settings
from service.state.store import Store
from tests.service.cli.conftest import Run, on_store
from tests.service.conftest import gateway_on

JPEG_LOSS = 8
"""The largest mean difference of colours, of 255, after the service has re-encoded a picture."""
ODD_ITEMS: list[dict[str, Any]] = [
    {
        "title": '  Tea <b>&amp;</b> "pot", 🍵; 100 % | é\u0301 ',
        "tags": ["green, hot", "a|b", " x "],
        "description": "A\nB",
    },
    {"title": "0", "genres": ["Sci-Fi;Fantasy", "sci-fi;fantasy"], "tags": "one|two, three"},
    {"title": "Likes", "genres": [], "caption": "A caption, with: marks."},
]
"""Changed fields of some items of the world."""
ODD_EVENTS: list[tuple[str, str, str]] = [
    ("", "4", "0"),
    ("", "1.5", "0"),
    ("rating", "3", "0"),
    ("rate", "5", "0.25"),
    ("review", "2", "0.25"),
    ("vote", "-1", "0.5"),
    ("purchase", "9.99", "0.5"),
    ("like", "4", "0.75"),
    ("stars", "", "1"),
    ("add-to-cart", "", "1.5"),
    ("wink", "", "2"),
    ("dislike", "", "3"),
]
"""Types, ratings and seconds of the additional events of one user."""


@dataclass(frozen=True)
class TrainingViews:
    """Everything of a dataset that training shows a model, by item and by user, and the pictures as arrays."""

    items: dict[str, ItemView]
    captions: dict[str, str]
    histories: dict[str, list[tuple[InteractionView, bool, bool]]]
    pictures: dict[str, Any]


def training_views(dataset: Dataset) -> TrainingViews:
    catalogue = Catalogue(dataset, PictureSize(32, 32))
    options = ExampleOptions(undescribed=0, misdescribed=0)
    terms = TermFinder.learn(catalogue.views)
    encoder: Any = None
    examples = Examples(catalogue, list(dataset.histories.values()), encoder, RuleBasedTeacher(), terms, options)
    rng = random.Random(0)
    return TrainingViews(
        dict(zip(catalogue.ids, catalogue.views, strict=True)),
        dict(zip(catalogue.ids, catalogue.captions, strict=True)),
        {
            user: [(examples.event(event, rng), event.liked, event.disliked) for event in history]
            for user, history in dataset.histories.items()
        },
        {
            item_id: catalogue.pixels[row]
            for item_id, row in zip(catalogue.ids, catalogue.picture, strict=True)
            if row >= 0
        },
    )


def make_world(folder: Path) -> None:
    """A small demo world with odd items and events in it."""
    generate(folder, seed=5, items=30, users=12, picture_side=48, events=(5, 20))
    items = [json.loads(line) for line in (folder / ITEMS).read_text("utf-8").splitlines()]
    for item, odd in zip(items, ODD_ITEMS, strict=False):
        item.update(odd)
    for item in items[-2:]:
        del item["image"], item["caption"]
    (folder / ITEMS).write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    with (folder / INTERACTIONS).open(newline="", encoding="utf-8") as lines:
        rows = [{**row, "rating": ""} for row in csv.DictReader(lines)]
    last = max(float(row["timestamp"]) for row in rows)
    named = [*(item["item_id"] for item in items), "in no catalogue"]
    for number, (kind, rating, after) in enumerate(ODD_EVENTS):
        item_id = named[-1 - number % 5]
        time = str(last + 1 + float(after))
        rows.append(
            {"user_id": 'the "odd", one', "item_id": item_id, "timestamp": time, "rating": rating, "type": kind}
        )
    with (folder / INTERACTIONS).open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, ("user_id", "item_id", "timestamp", "rating", "type"))
        writer.writeheader()
        writer.writerows(rows)


async def send(settings: Settings, folder: Path) -> None:
    """Load the catalogue and post the events of every user, and one exposure, which no training sees."""
    async with (
        gateway_on(settings) as gateway,
        ServiceClient("http://t", transport=httpx.ASGITransport(gateway.app)) as client,
    ):
        dataset = read_dataset(folder)
        assert await load_missing(client, folder, lambda *_: None) == len(dataset.items)
        for user, history in dataset.histories.items():
            events = [
                {
                    "user_id": user,
                    "item_id": one.item_id,
                    "type": one.type,
                    "timestamp": one.timestamp,
                    "value": one.value,
                }
                for one in history
            ]
            await client.post_events(events[:3])
            await client.post_events(events[3:])
            await client.post_events([{"user_id": user, "item_id": "item-0000", "type": "impression"}])


async def describe(store: Store, captions: dict[str, str]) -> None:
    """Describe every item with its caption."""
    while claims := await store.descriptions.claim(10):
        for claim in claims:
            assert await store.descriptions.commit(claim, captions[claim.item.item_id], "describer@1")


def test_the_training_views_of_an_export_are_those_of_the_dataset_that_was_sent(
    settings: Settings, tastestream: Run, tmp_path: Path
) -> None:
    make_world(tmp_path / "world")
    sent = training_views(read_dataset(tmp_path / "world"))
    asyncio.run(send(settings, tmp_path / "world"))
    on_store(settings, lambda store: describe(store, sent.captions))
    ended = tastestream("events", "export", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    exported = training_views(read_dataset(tmp_path / "out"))
    assert exported.items == sent.items
    assert exported.captions == sent.captions
    assert exported.histories == sent.histories
    assert exported.pictures.keys() == sent.pictures.keys()
    for item_id, picture in sent.pictures.items():
        loss = np.abs(picture.astype(np.int16) - exported.pictures[item_id].astype(np.int16)).mean()
        assert loss < JPEG_LOSS, item_id
