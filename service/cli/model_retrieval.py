"""`tastestream models evaluate-retrieval`."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from model_store.errors import UserError
from model_store.progress import stages
from model_store.retrieval.shares import Shares
from model_store.signals import Signals
from service.cli.options import MAX_SEED, DatasetFolder, require_writable
from service.cli.terminal import print_table, say, settings_or_exit
from service.settings.recommend import RecommendSettings

_METHODS = "random,popularity,co-occurrence,ItemKNN,EASE,SASRec,TF-IDF + SVD"
_MOST = 1000


def evaluate_retrieval(
    data: DatasetFolder,
    output: Annotated[Path, typer.Option("--out", "-o", help="The folder of report.json and report.md.")],
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Vectors of items, as `models embed` writes them, under a name for the tables; repeatable.",
        ),
    ] = None,
    methods: Annotated[str, typer.Option(help="What to compare with, comma-separated, or `none`.")] = _METHODS,
    users: Annotated[
        int | None, typer.Option(help="How many users to evaluate.", min=1, show_default="all of the split")
    ] = None,
    split: Annotated[
        Literal["test", "validation"], typer.Option(help="Choose settings on `validation`, report on `test`.")
    ] = "test",
    history: Annotated[int, typer.Option(help="Events before the target that methods see.", min=1, max=_MOST)] = 50,
    cold_share: Annotated[
        float, typer.Option(help="Share of items hidden from all training, as new ones.", min=0, max=0.5)
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Draws hidden items and users, and fits SASRec.", min=0, max=MAX_SEED)] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs of SASRec.", min=1, max=_MOST)] = 10,
    shares: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NEW:EMBEDDING",
            help="Shares of new items and of the embedding for `all stages`, such as 0.1:0.05; repeatable.",
            show_default="those of the settings",
        ),
    ] = None,
) -> None:
    """Measure which methods find the next liked item in the whole catalogue, also among new items.

    For each user that training never saw, the last liked item is to be found among all items new to the user.
    A tenth of the items is hidden from all training and from histories: only what knows their words and pictures can
    find those. `all stages` merges the stages as the service does, with each of the embeddings.

    Vectors are only comparable if their model never saw the hidden items either: train it with the same --cold-share
    and --seed.

    Example:

        tastestream models evaluate-retrieval --data shop --vectors ours=shop-vectors.npz --out shop-retrieval
    """
    from model_store.data.check import require
    from model_store.data.dataset import read_dataset
    from model_store.evaluate.facts import data_facts
    from model_store.evaluate.retrieval.cases import RetrievalProtocol
    from model_store.evaluate.retrieval.report import headings, report_files, table_rows, title
    from model_store.evaluate.retrieval.run import ITEM_MODELS, METHODS, RetrievalPlan
    from model_store.evaluate.retrieval.run import evaluate_retrieval as run
    from model_store.evaluate.retrieval.vector_files import read_vectors

    settings = settings_or_exit()
    names = _methods(methods, METHODS)
    files = _named_files(vectors or (), (*METHODS, ITEM_MODELS))
    wanted = _shares(shares or (), settings.recommend)
    require_writable(output)
    with stages() as report:
        dataset = read_dataset(data, Signals(settings.signals.vocabulary()))
        require(dataset, "evaluation")
        plan = RetrievalPlan(
            protocol=RetrievalProtocol(split, users, history, seed, cold_share),
            methods=names,
            vectors={name: read_vectors(file, list(dataset.items)) for name, file in files.items()},
            epochs=epochs,
            shares=wanted,
        )
        found = run(dataset, plan, report)
        facts = data_facts(data, dataset)
    for table in found.tables:
        say("")
        say(title(table))
        print_table(table_rows(table), *headings(plan.reference))
    for name, content in report_files(found, plan, facts, shlex.join(["tastestream", *sys.argv[1:]])).items():
        (output / name).write_bytes(content)
    say(f"report: {output / 'report.md'}")


def _methods(text: str, known: Sequence[str]) -> list[str]:
    """The methods of the option in the order of the tables, whatever their case."""
    if text == "none":
        return []
    asked = {name.strip().lower() for name in text.split(",") if name.strip()}
    unknown = sorted(asked - {name.lower() for name in known})
    if unknown:
        raise UserError(f"--methods: {unknown[0]!r} is none of {', '.join(known)}")
    if not asked:
        raise UserError(f"--methods: name at least one of {', '.join(known)}, or `none`")
    return [name for name in known if name.lower() in asked]


def _named_files(options: Sequence[str], taken: Sequence[str]) -> Mapping[str, Path]:
    """The file of each name in `NAME=FILE`."""
    files: dict[str, Path] = {}
    for option in options:
        name, equals, file = option.partition("=")
        if not equals or not name.strip() or not file:
            raise UserError(f"--vectors: {option!r} is not NAME=FILE, such as ours=vectors.npz")
        if name in files or name in taken:
            raise UserError(f"--vectors: the name {name!r} is used twice, or is that of a method; choose another one")
        files[name] = Path(file)
    return files


def _shares(options: Sequence[str], settings: RecommendSettings) -> Mapping[str, Shares]:
    """The shares of each `NEW:EMBEDDING` by what tables add to the name; those of the settings if there is none."""
    genre = settings.genre_share
    if not options:
        return {"": Shares(settings.new_items_share, settings.embedding_share, genre)}
    found: dict[str, Shares] = {}
    for option in options:
        new, _, embedding = option.partition(":")
        try:
            checked = RecommendSettings(new_items_share=float(new), embedding_share=float(embedding))
        except ValueError:
            raise UserError(f"--shares: {option!r} is not NEW:EMBEDDING with shares from 0, such as 0.1:0.05") from None
        own = Shares(checked.new_items_share, checked.embedding_share, genre)
        found[f", {100 * own.new:g} % new, {100 * own.embedding:g} % embedding"] = own
    return found
