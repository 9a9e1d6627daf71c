"""`tastestream replay`."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from model_store.errors import UserError
from model_store.progress import stages
from service.cli.options import DEFAULT_URL, MAX_SEED, DatasetFolder, Url, api_key
from service.cli.terminal import out

if TYPE_CHECKING:
    from rich.console import RenderableType

    from model_store.evaluate.protocol import Protocol
    from model_store.evaluate.retrieval.cases import RetrievalProtocol

_MOST = 1000


def replay(
    data: DatasetFolder,
    url: Url = DEFAULT_URL,
    users: Annotated[
        int | None, typer.Option(help="How many users to evaluate.", min=1, show_default="all of the test split")
    ] = None,
    negatives: Annotated[
        Literal["uniform", "popular"] | None,
        typer.Option(help="How the 20 other candidates are drawn.", show_default="popular"),
    ] = None,
    history: Annotated[
        int, typer.Option(help="Events before the target that are posted for each user.", min=1, max=_MOST)
    ] = 50,
    retrieve: Annotated[
        bool,
        typer.Option(
            "--retrieve", help="Give no candidates: the service has to find the target in the whole catalogue."
        ),
    ] = False,
    cold_share: Annotated[
        float | None,
        typer.Option(
            help="With --retrieve: the share of items that stand for new ones.", min=0, max=0.5, show_default="0.1"
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k", help="With --retrieve: how many items are asked for, comma-separated.", show_default="10,50,100"
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="With --retrieve: ask at once, before pictures are described and events are folded."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="The seed that draws users, candidates and hidden items.", min=0, max=MAX_SEED)
    ] = 0,
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

    With --retrieve, the service gets no candidates. A tenth of the items stands for new ones: they are loaded last, and
    nothing that happened to them is posted. Prints how often the held-out item is among 10, 50 and 100 recommended
    ones, apart for known and new items, and which stage of retrieval found what. It means something for models that
    never met the hidden items: train the ranker on what `data hide-items` writes, and the embedder with the same
    --cold-share and --seed.

    Example:

        tastestream replay --data movielens --users 200
    """
    only = {"--cold-share": cold_share is not None, "--k": k is not None, "--no-wait": no_wait}
    _refuse(only if not retrieve else {"--negatives": negatives is not None}, retrieve=retrieve)
    sizes = _sizes(k or "10,50,100")
    if markdown is not None:
        # Before the replay, so that a file that can't be written is reported at once.
        markdown.touch()
    if retrieve:
        from model_store.evaluate.retrieval.cases import RetrievalProtocol

        drawn = RetrievalProtocol(
            users=users, history=history, seed=seed, cold_share=0.1 if cold_share is None else cold_share
        )
        table, text = _retrieved(data, url, drawn, sizes, wait=not no_wait, keep=keep_users)
    else:
        from model_store.evaluate.protocol import Protocol

        protocol = Protocol(negatives=negatives or "popular", users=users, history=history, seed=seed)
        table, text = _ranked(data, url, protocol, keep=keep_users)
    out.print(table)
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as document:
            document.write(text + "\n")


def _ranked(data: Path, url: str, protocol: "Protocol", *, keep: bool) -> "tuple[RenderableType, str]":
    """The report for the terminal and for a document."""
    from service.client.replay import replay
    from service.client.report import replay_to_markdown, replay_to_rich

    with stages() as report:
        found = asyncio.run(replay(data, url, protocol, report, delete=not keep, api_key=api_key()))
    return replay_to_rich(found), replay_to_markdown(found)


def _retrieved(
    data: Path, url: str, protocol: "RetrievalProtocol", sizes: Sequence[int], *, wait: bool, keep: bool
) -> "tuple[RenderableType, str]":
    """The same without candidates."""
    from service.client.replay_retrieval import replay_retrieval
    from service.client.retrieval_report import retrieval_to_markdown, retrieval_to_rich

    with stages() as report:
        running = replay_retrieval(
            data, url, protocol, report, sizes=sizes, wait=wait, delete=not keep, api_key=api_key()
        )
        found = asyncio.run(running)
    return retrieval_to_rich(found), retrieval_to_markdown(found)


def _refuse(given: Mapping[str, bool], *, retrieve: bool) -> None:
    """
    Raises:
        UserError: an option was given that means nothing here.
    """
    for option, is_given in given.items():
        if is_given:
            raise UserError(f"{option} means nothing {'with' if retrieve else 'without'} --retrieve: leave it out")


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(size) for size in text.split(",")})
    except ValueError:
        raise UserError(f"--k: {text!r} is not a list of numbers, such as 10,100") from None
    if not 1 <= sizes[0] <= sizes[-1] <= _MOST:
        raise UserError(f"--k: numbers are 1 to {_MOST}")
    return sizes
