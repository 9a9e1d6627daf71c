"""`tastestream evaluate`."""

import asyncio
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import stamina
import typer

from model_store.demo import MODELS
from model_store.errors import UserError
from model_store.progress import stages
from model_store.registry.evaluations import Evaluations
from model_store.registry.manifest import Manifest
from model_store.signals import Signals
from service.cli.model_store import store_of
from service.cli.options import DatasetFolder, ModelStore, RankerUrl, Summarizer, SummarizerUrl
from service.cli.terminal import print_table, say, settings_or_exit
from service.settings.urls import is_remote

if TYPE_CHECKING:
    from model_store.evaluate.results import Board, Estimate, Evaluation

CACHE = Path.home() / ".cache" / "tastestream" / "answers"
_BASELINES = "popularity,ItemKNN,EASE,SASRec,GRU4Rec,BERT4Rec"
_MOST = 1000


def evaluate(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The ranker: `NAME@1`, `NAME@production`, or `NAME`.")
    ],
    data: DatasetFolder,
    summarizer: Summarizer = None,
    ranker_url: RankerUrl = None,
    summarizer_url: SummarizerUrl = None,
    protocol: Annotated[
        str, typer.Option(help="Comma-separated: `popular`, `uniform` (as in the papers), `time`.")
    ] = "popular,uniform",
    users: Annotated[
        int | None, typer.Option(help="How many users to evaluate.", min=1, show_default="all of the test split")
    ] = None,
    negatives: Annotated[int, typer.Option(help="Other candidates beside the target.", min=1, max=_MOST)] = 20,
    history: Annotated[int, typer.Option(help="Events before the target that methods see.", min=1, max=_MOST)] = 50,
    seeds: Annotated[
        str, typer.Option(help="Each draws users and candidates, and fits sequential baselines; comma-separated.")
    ] = "0",
    k: Annotated[str, typer.Option(help="Cutoffs of HR, NDCG and MRR, comma-separated.")] = "5,10",
    block_size: Annotated[int, typer.Option(help="Events folded into a summary at a time.", min=1, max=_MOST)] = 3,
    direct: Annotated[bool, typer.Option("--direct", help="Fold the whole history at once.")] = False,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also rank without summary, recents, picture, ... in turn.")
    ] = False,
    block_sizes: Annotated[
        str, typer.Option(help="Block sizes that --ablations compares, comma-separated.")
    ] = "1,2,3,5,10",
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another ranker for the same cases, with its family's summarizer; repeatable."),
    ] = None,
    inputs: Annotated[
        str, typer.Option(help="Also rank with other prompts; `none`, or comma-separated: `text-only`, `raw-history`.")
    ] = "text-only,raw-history",
    baselines: Annotated[str, typer.Option(help="Comma-separated, or `none`.")] = _BASELINES,
    epochs: Annotated[int, typer.Option(help="Epochs of the sequential baselines.", min=1, max=_MOST)] = 10,
    output: Annotated[
        str | None,
        typer.Option(help="The folder of the report, on this machine.", show_default="beside the version in the store"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="The folder of the models' answers.", show_default="~/.cache/tastestream/answers"),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Evaluate a ranker version offline, by the prompts and the engine of production, and write a report.

    Starts vLLM servers of the summarizer and then of the ranker, or asks those of the URLs. For each user that training
    never saw, folds the history before the last liked item and ranks that item among others. Baselines, other versions
    and ablations rank the same cases. Answers are cached: an interrupted or repeated run asks nothing twice.

    Writes report.html, report.json, a model card and `.eval_results` for the Hugging Face Hub.

    Example:

        tastestream evaluate movielens-ranker@2 --data movielens --users 500 --ablations --against movielens-ranker@1
    """
    from model_store.data.check import require
    from model_store.data.dataset import read_dataset
    from model_store.evaluate.answers import AnswerCache
    from model_store.evaluate.baselines import BASELINES
    from model_store.evaluate.condition import Folding
    from model_store.evaluate.facts import data_facts
    from model_store.evaluate.protocol import PROTOCOLS
    from model_store.evaluate.report import files
    from model_store.evaluate.report.plots import require_matplotlib
    from model_store.evaluate.run import INPUTS, Plan
    from model_store.evaluate.run import evaluate as run
    from model_store.evaluate.subject import Subject

    settings = settings_or_exit()
    require_matplotlib()
    # What is tried again is no news; what fails in the end is.
    stamina.instrumentation.set_on_retry_hooks([])
    drawn: dict[str, Any] = {"users": users, "n_negatives": negatives, "history": history}
    plan = Plan(
        protocols={name: replace(PROTOCOLS[name], **drawn) for name in _names("--protocol", protocol, PROTOCOLS)},
        seeds=_numbers("--seeds", seeds, least=0),
        folding=Folding(None if direct else block_size),
        ablated=ablations,
        block_sizes=_numbers("--block-sizes", block_sizes),
        inputs=[] if inputs == "none" else _names("--inputs", inputs, INPUTS),
        baselines=[] if baselines == "none" else _names("--baselines", baselines, BASELINES),
        epochs=epochs,
        ks=_numbers("--k", k),
        command=shlex.join(["tastestream", *sys.argv[1:]]),
    )
    registry = store_of(version, store)
    subject = Subject.of(version, summarizer, registry, ranker_url=ranker_url, summarizer_url=summarizer_url)
    # What is built in belongs to the program, and may be read-only.
    beside = registry.root if Path(registry.root) != MODELS else settings.data_dir / "evaluations"
    place = _Place(subject.ranker, beside) if output is None else _Place(None, _folder(output))
    others = [Subject.of(name, None, store_of(name, store)) for name in against or ()]
    logs = TemporaryDirectory(prefix="tastestream-evaluate-")
    with stages() as report, logs as folder, AnswerCache(cache or CACHE) as answers:
        dataset = read_dataset(data, Signals(settings.signals.vocabulary()))
        require(dataset, "evaluation")
        place.require_writable()
        facts = data_facts(data, dataset)
        found = asyncio.run(run(dataset, facts, subject, others, plan, answers, Path(folder), report))
    for board in found.boards:
        _print(board)
    say(f"report: {place.write(found, files(found, subject.ranker))}")


class _Place:
    """Where the files of a report go.

    Args:
        version: they go beside this version of the model store `root`; None writes them into the folder `root` itself.
    """

    def __init__(self, version: Manifest | None, root: Path | str) -> None:
        self._version, self._root = version, root

    def require_writable(self) -> None:
        """Check before hours of asking that the report can be written after them.

        Raises:
            UserError: it can't; the message names the remedy.
        """
        with self._remedy():
            if self._version is not None:
                Evaluations(self._root).require_place(self._version)
            else:
                Path(self._root).mkdir(parents=True, exist_ok=True)
                TemporaryFile(dir=self._root).close()

    def write(self, found: "Evaluation", files: Mapping[str, bytes]) -> str:
        """Write the files and return where the page is.

        Raises:
            UserError: as `require_writable`.
        """
        with self._remedy():
            if self._version is not None:
                title = f"{found.data.name}-{found.created:%Y%m%d-%H%M%S}"
                return f"{Evaluations(self._root).add(self._version, title, files)}/report.html"
            for path, content in files.items():
                file = Path(self._root) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            return f"{self._root}/report.html"

    @contextmanager
    def _remedy(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"the report can't be written to {self._root} ({reason}): name a folder with --output"
            ) from error


def _folder(output: str) -> Path:
    if is_remote(output):
        raise UserError(f"--output: {output} is a URL; name a folder on this machine, and copy the report from there")
    return Path(output)


def _names(option: str, text: str, known: Iterable[str]) -> list[str]:
    """The comma-separated names of an option, in any case, without repetitions."""
    by_name = {name.lower(): name for name in known}
    asked = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in by_name:
            raise UserError(f"{option}: {name!r} is none of {', '.join(by_name.values())}")
    if not asked:
        raise UserError(f"{option}: name at least one of {', '.join(by_name.values())}")
    return [by_name[name] for name in dict.fromkeys(asked)]


def _numbers(option: str, text: str, least: int = 1) -> list[int]:
    try:
        numbers = sorted({int(number) for number in text.split(",")})
    except ValueError:
        raise UserError(f"{option}: {text!r} is not a list of numbers, such as 1,3,10") from None
    if not least <= numbers[0] <= numbers[-1] <= _MOST:
        raise UserError(f"{option}: numbers are {least} to {_MOST}")
    return numbers


def _print(board: "Board") -> None:
    k = next(iter(board.methods[0].hit_rate))
    say("")
    say(f"{board.protocol}, seed {board.seed}: {board.description}, {board.cases} users")
    for warning in board.warnings:
        say(f"warning: {warning}")
    rows = (
        (one.name, *map(_cell, (one.auc, one.pooled_auc, one.hit_rate[k], one.ndcg[k], one.mrr[k])))
        for one in board.methods
    )
    print_table(rows, "method", "AUC", "pooled AUC", f"HR@{k}", f"NDCG@{k}", f"MRR@{k}")
    if board.ablations:
        changes = ((one.of, one.name, _cell(one.auc), _change(one.difference)) for one in board.ablations)
        print_table(changes, "ablation of", "condition", "AUC", "change")


def _cell(estimate: "Estimate") -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _change(estimate: "Estimate") -> str:
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"
