"""`tastestream recommendations`: what was shown, and what came of it."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_store.errors import UserError
from model_store.progress import Report, stages
from model_store.signals import Signal, Signals
from service.cli.audit import audited
from service.cli.dataset_files import new_file
from service.cli.options import Tenant
from service.cli.store import opened_store
from service.cli.terminal import raise_if_interrupted, say, settings_or_exit
from service.http.times import format_time
from service.names import DEFAULT_TENANT
from service.settings import Settings

if TYPE_CHECKING:
    from service.state.shown_log import Shown
    from service.state.store import Store

app = typer.Typer(no_args_is_help=True, help="Export what was shown and what came of it.")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write, one JSON object per line.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write one line for each item that was shown: the model, the policy, the place, the features and the outcome.

    Answers are kept if `TASTESTREAM_STATE__SHOWN_LOG_SIZE` is set. The outcome is the strongest signal of the events
    that name the recommendation and the item: positive, then negative, then neutral; null without an event.

    Example:

        tastestream recommendations export shown.jsonl
    """
    os.umask(0o077)
    settings = settings_or_exit()
    with audited("recommendations.export", file=str(file), tenant=tenant):
        asyncio.run(_export(settings, tenant, file, force=force))


async def _export(settings: Settings, tenant: str, file: Path, *, force: bool) -> None:
    count = 0
    signals = Signals(settings.signals.vocabulary())
    async with opened_store(settings, tenant) as store:
        if not await store.shown_log.count():
            raise UserError("nothing is logged: set TASTESTREAM_STATE__SHOWN_LOG_SIZE for the gateways, and wait")
        with new_file(file, force=force) as lines, stages() as report:
            async for row in _rows(store, signals, report):
                lines.write(json.dumps(row) + "\n")
                count += 1
    say(f"{count:,} items that were shown in {file}")


async def _rows(store: "Store", signals: Signals, report: Report) -> AsyncIterator[dict[str, Any]]:
    """The rows, bucket by bucket: a user's answers and events are in the same one."""
    for bucket in store.log.buckets:
        raise_if_interrupted()
        answers = [shown async for shown in store.shown_log.read(bucket)]
        ours = {shown.recommendation_id for shown in answers}
        led: dict[tuple[str, str], list[Signal]] = defaultdict(list)
        async for one in store.log.read(bucket):
            event = one.event
            if event.recommendation_id in ours and not event.exposure:
                led[event.recommendation_id or "", event.item_id].append(signals(event.type, event.value))
        for shown in answers:
            for row in rows_of(shown, led):
                yield row
        report("joining answers and events", (bucket + 1) / len(store.log.buckets), f"bucket {bucket + 1}")


def rows_of(shown: "Shown", led: dict[tuple[str, str], list[Signal]]) -> list[dict[str, Any]]:
    """One row for each item of an answer; `led` has the signals of the events by recommendation and item."""
    return [
        {
            "recommendation_id": shown.recommendation_id,
            "time": format_time(shown.read_at_ms),
            "user_id": shown.user_id,
            "model": shown.model,
            "policy": shown.policy,
            "policy_propensity": shown.propensity,
            "served_by": shown.served_by,
            "diversity": shown.diversity,
            "typical": dict(shown.typical),
            "slot": slot,
            "item_id": item.item_id,
            "propensity": item.propensity,
            "features": dict(zip(shown.features, item.features, strict=True)),
            "outcome": strongest(led.get((shown.recommendation_id, item.item_id), ())),
        }
        for slot, item in enumerate(shown.items, start=1)
    ]


def strongest(signals: Sequence[Signal]) -> Signal | None:
    """The first of positive, negative, neutral that occurs."""
    kinds: tuple[Signal, ...] = ("positive", "negative", "neutral")
    return next((kind for kind in kinds if kind in signals), None)
