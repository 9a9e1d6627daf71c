"""Describes all items and summarizes all users of a dataset."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from model_store.data.dataset import Dataset, Interaction
from model_store.data.statistics.items import look_at
from model_store.data.summaries import Step
from model_store.data.targets import target_position
from model_store.evaluate.asking import MAX_CONCURRENT_TEXTS, Summarizer, plan
from model_store.evaluate.condition import Folding
from model_store.evaluate.views import DatasetViews
from model_store.for_each import for_each
from model_store.progress import Report

DIRECT_EVENTS = 50
"""Events of a direct summary, unless the caller says otherwise: one prompt must hold them all."""


@dataclass(frozen=True, slots=True)
class SummaryOptions:
    """Which events become summaries, and how.

    Attributes:
        folding: recurrent in blocks, for every step of a history; or direct: one summary per user, of all events before
            the one that evaluation asks for.
        last: only this many of a user's last events; None takes all, or `DIRECT_EVENTS` if direct.
        users: only these.
    """

    folding: Folding = field(default_factory=Folding)
    last: int | None = None
    users: Sequence[str] | None = None


class Part(NamedTuple):
    """The events of one user that become summaries. `before` are events of the history before the first of them."""

    user_id: str
    before: int
    events: tuple[Interaction, ...]


@dataclass(frozen=True)
class Written:
    """What was written, by id, and how many prompts failed, by reason. `asked` were not in the cache."""

    texts: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, list[Step]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    asked: int = 0


async def describe(summarizer: Summarizer, dataset: Dataset, report: Report) -> Written:
    """Describe every item that has a readable picture, as workers do.

    Raises:
        UserError: the server does not start or stops answering. What it answered is cached.
    """
    # An earlier description is no part of the item.
    bare = {item_id: replace(item, summary="") for item_id, item in dataset.items.items()}
    views = DatasetViews(replace(dataset, items=bare))
    pictured = [item.item_id for item in bare.values() if item.image is not None]
    unusable: Counter[str] = Counter()
    progress = _Rate("describing items", len(pictured), report)

    async def one(item_id: str) -> str:
        image = bare[item_id].image
        picture = await asyncio.to_thread(look_at, image) if image is not None else None
        if picture is None or picture.fault or not picture.content:
            unusable["picture unreadable" if picture and picture.fault else "picture missing"] += 1
            text = ""
        else:
            text = await summarizer.description(views, item_id)
        progress.add(1, summarizer)
        return text

    texts = await for_each(pictured, one, MAX_CONCURRENT_TEXTS)
    found = {item_id: text for item_id, text in zip(pictured, texts, strict=True) if text}
    return Written(texts=found, failures=unusable + summarizer.failures, asked=summarizer.asked)


async def summarize(summarizer: Summarizer, dataset: Dataset, options: SummaryOptions, report: Report) -> Written:
    """Summarize histories; each user is a chain of prompts, and many users are asked for at a time.

    Raises:
        UserError: as `describe`.
    """
    views = DatasetViews(dataset)
    # The longest chains first, so that none of them is left alone at the end.
    parts = sorted(parts_of(dataset, options), key=lambda part: -len(part.events))
    total = sum(len(plan(len(part.events), options.folding)) for part in parts)
    progress = _Rate("summarizing users", total, report)

    async def one(part: Part) -> list[Step]:
        steps = []
        async for events, text in summarizer.steps(views.events(part.events), options.folding):
            steps.append(Step(part.before + events, text))
            progress.add(1, summarizer)
        return steps

    found = await for_each(parts, one, MAX_CONCURRENT_TEXTS)
    steps = {part.user_id: steps for part, steps in zip(parts, found, strict=True)}
    return Written(steps=steps, failures=summarizer.failures, asked=summarizer.asked)


def parts_of(dataset: Dataset, options: SummaryOptions) -> Iterator[Part]:
    """The events that become summaries, of each user that has some."""
    direct = options.folding.block is None
    last = DIRECT_EVENTS if options.last is None and direct else options.last
    for user in dataset.histories if options.users is None else options.users:
        events = dataset.histories[user]
        end = target_position(events, dataset.items) if direct else None
        events = events[:end]
        before = 0 if last is None else max(0, len(events) - last)
        if events:
            yield Part(user, before, events[before:])


class _Rate:
    """Progress with prompts per second and the time that is left; cached answers cost no time."""

    def __init__(self, stage: str, total: int, report: Report) -> None:
        self._stage, self._total, self._report = stage, total, report
        self._started: float | None = None
        self._done = 0

    def add(self, count: int, summarizer: Summarizer) -> None:
        if self._started is None:
            # The time before the first answer is that of the server's start.
            self._started = time.monotonic()
        self._done += count
        seconds = time.monotonic() - self._started
        note = f"{self._done:,} of {self._total:,}"
        if summarizer.asked and seconds > 0:
            rate = summarizer.asked / max(seconds, 1e-3)
            left = (self._total - self._done) / (self._done / max(seconds, 1e-3))
            note += f", {rate:.1f} prompts/s, about {_duration(left)} left"
        if summarizer.unanswered:
            note += f", {summarizer.unanswered:,} without an answer"
        self._report(self._stage, self._done / self._total, note)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
