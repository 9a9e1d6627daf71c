"""`tastestream replay`."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from model_store.progress import stages
from service.cli.options import DEFAULT_URL, MAX_SEED, DatasetFolder, Url, api_key
from service.cli.terminal import out


def replay(
    data: DatasetFolder,
    url: Url = DEFAULT_URL,
    users: Annotated[
        int | None, typer.Option(help="How many users to evaluate.", show_default="all of the test split")
    ] = None,
    negatives: Annotated[
        Literal["uniform", "popular"], typer.Option(help="How the 20 other candidates are drawn.")
    ] = "popular",
    seed: Annotated[int, typer.Option(help="The seed that draws users and candidates.", min=0, max=MAX_SEED)] = 0,
    keep_users: Annotated[
        bool, typer.Option("--keep-users", help="Do not delete the replayed users from the service.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Also append the tables to this file.", show_default=False)
    ] = None,
) -> None:
    """Replay a dataset through a running service, over HTTP only, and measure its recommendations.

    Loads the catalogue, posts each test user's events in order, waits until they are folded, then asks the service to
    rank the user's held-out last liked item among 20 others. Prints AUC, HR@5, NDCG@5 and MRR@5 with 95 % intervals,
    those of popularity, ItemKNN and EASE on the same cases, and latencies. Only users that are never used for training
    are replayed.

    Example:

        tastestream replay --data movielens --users 200
    """
    from model_store.evaluate.protocol import Protocol
    from service.client.replay import replay as replay_dataset
    from service.client.report import replay_to_markdown, replay_to_rich

    protocol = Protocol(negatives=negatives, users=users, seed=seed)
    if markdown is not None:
        # Before the replay, so that a file that can't be written is reported at once.
        markdown.touch()
    with stages() as report:
        running = replay_dataset(data, url, protocol, report, delete_users=not keep_users, api_key=api_key())
        found = asyncio.run(running)
    out.print(replay_to_rich(found))
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as document:
            document.write(replay_to_markdown(found) + "\n")
