"""`tastestream data describe` and `tastestream data summarize`."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from model_store.data.dataset import DESCRIPTIONS, ITEMS, Dataset, read_dataset
from model_store.data.summaries import SUMMARIES
from model_store.pictures import PictureSize
from model_store.progress import Report, stages
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Serving, hash_files
from model_store.signals import Signals
from service.cli.dataset_files import new_file
from service.cli.evaluate import CACHE
from service.cli.model_store import own_store, store_of
from service.cli.options import DatasetArgument, ModelStore
from service.cli.terminal import err, print_table, say, settings_or_exit
from service.settings import Settings

if TYPE_CHECKING:
    from model_store.evaluate.asking import Summarizer
    from model_store.offline.stages import Written

Version = Annotated[
    str | None,
    typer.Option(help="The version that writes: `NAME@1`, `NAME@production`, or `NAME`.", show_default=False),
]
ServerUrl = Annotated[
    str | None, typer.Option("--url", help="The root URL of a running vLLM server.", show_default="one is started")
]
Model = Annotated[
    str | None, typer.Option(help="Instead of a version, a general model that the server serves.", show_default=False)
]
MaxTokens = Annotated[
    int | None, typer.Option(help="The longest answer in tokens.", min=8, max=4096, show_default="as the version says")
]
AnswerFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="The folder of the model's answers.", show_default="~/.cache/tastestream/answers"),
]
_GENERAL_PICTURE = PictureSize(448, 448, "contain")


def describe(
    folder: DatasetArgument,
    version: Version = None,
    url: ServerUrl = None,
    model: Model = None,
    max_tokens: MaxTokens = None,
    cache: AnswerFolder = None,
    store: ModelStore = None,
) -> None:
    """Let a model describe the items of a dataset from their pictures and texts (MLLM-MSR, stage 1).

    Asks exactly as workers do, and starts a vLLM server of the version unless --url names one. Writes
    descriptions.jsonl into the dataset folder; training and evaluation then show each item with its description.
    Answers are cached by model, prompt and picture: an interrupted or repeated command asks nothing twice. The exit
    status is 1 if some items could not be described.

    Example:

        tastestream data describe movielens --version movielens-summarizer
    """
    from model_store.offline.stages import describe as describe_items

    asked = _Asked(version, url, model, cache, store, {"max_description_tokens": max_tokens})
    written = asked.run(folder, describe_items)
    rows = ({"item_id": item_id, "summary": text, "model": asked.name} for item_id, text in written.texts.items())
    _write(folder / DESCRIPTIONS, rows)
    _report(written, f"{len(written.texts):,} items described", folder / DESCRIPTIONS)


def summarize(
    folder: DatasetArgument,
    version: Version = None,
    url: ServerUrl = None,
    model: Model = None,
    block_size: Annotated[int, typer.Option(help="Events folded at a time.", min=1, max=1000)] = 3,
    direct: Annotated[
        bool, typer.Option("--direct", help="One summary per user, of all events before the last liked one at once.")
    ] = False,
    last: Annotated[
        int | None,
        typer.Option(help="Only a user's last events, so many.", min=1, show_default="all, or 50 with --direct"),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Only the users of this split.", show_default="all"),
    ] = None,
    users: Annotated[
        int | None, typer.Option(help="Only so many users, chosen by a hash of their ids.", min=1, show_default="all")
    ] = None,
    output: Annotated[
        str, typer.Option(help="The name of the file in the dataset folder, for comparing variants.")
    ] = SUMMARIES,
    max_tokens: MaxTokens = None,
    cache: AnswerFolder = None,
    store: ModelStore = None,
) -> None:
    """Let a model summarize what each user likes, step by step (MLLM-MSR, stage 2).

    Folds every history in blocks, as workers do: summary[n] = LLM(summary[n-1], block). Writes summaries.jsonl into the
    dataset folder, one line for each user and step, so that training finds the summary at any moment of a history. Run
    `data describe` first if the items have pictures. Server, cache and exit status are as in `data describe`.

    Example:

        tastestream data summarize movielens --version movielens-summarizer --block-size 3
    """
    from model_store.evaluate.condition import Folding
    from model_store.offline.stages import SummaryOptions
    from model_store.offline.stages import summarize as summarize_users

    if Path(output).name != output or not output.endswith(".jsonl") or output in (ITEMS, DESCRIPTIONS):
        raise typer.BadParameter(
            f"--output is the name of a .jsonl file of its own in the dataset folder, not {output!r}"
        )
    folding = Folding(None if direct else block_size)

    async def run(summarizer: "Summarizer", dataset: Dataset, report: Report) -> "Written":
        if dataset.has_pictures and not any(item.summary for item in dataset.items.values()):
            err.print("[yellow]warning:[/] no item is described, so pictures say nothing: run data describe first")
        chosen = _chosen(dataset, split, users)
        return await summarize_users(summarizer, dataset, SummaryOptions(folding, last, chosen), report)

    asked = _Asked(version, url, model, cache, store, {"max_summary_tokens": max_tokens})
    written = asked.run(folder, run)
    rows = (
        {"user_id": user, "events": step.events, "summary": step.summary, "model": asked.name}
        for user, steps in sorted(written.steps.items())
        for step in steps
    )
    _write(folder / output, rows)
    count = sum(map(len, written.steps.values()))
    _report(written, f"{len(written.steps):,} users summarized in {count:,} steps ({folding})", folder / output)


class _Asked:
    """The model that the options name. `name` is how rows call it."""

    def __init__(
        self,
        version: str | None,
        url: str | None,
        model: str | None,
        cache: Path | None,
        store: str | None,
        limits: Mapping[str, int | None],
    ) -> None:
        if (version is None) == (model is None):
            raise typer.BadParameter("name either a --version, or a --model that the server of --url serves")
        if model is not None and url is None:
            raise typer.BadParameter("a --model needs the --url of the server that serves it")
        self._settings: Settings = settings_or_exit()
        self._url, self._model, self._cache = url, model, cache or CACHE
        given = {name: limit for name, limit in limits.items() if limit is not None}
        if version is not None:
            self._registry = store_of(version, store)
            found = self._registry.get(version)
            self._manifest = found.model_copy(update={"serving": found.serving.model_copy(update=given)})
        else:
            self._registry = own_store(store)
            self._manifest = general_manifest(model or "", given)
        self.name = model or self._manifest.id

    def run(self, folder: Path, stage: Callable[["Summarizer", Dataset, Report], Awaitable["Written"]]) -> "Written":
        """
        Raises:
            UserError: the dataset can't be read, or the server does not start or stops answering.
        """
        from model_store.evaluate.answers import AnswerCache
        from model_store.evaluate.asking import Summarizer

        dataset = read_dataset(folder, Signals(self._settings.signals.vocabulary()))

        async def asking(report: Report, answers: AnswerCache, logs: Path) -> "Written":
            async with self._server(report, logs) as server:
                return await stage(Summarizer(server, answers, report), dataset, report)

        try:
            with (
                stages() as report,
                TemporaryDirectory(prefix="tastestream-stages-") as logs,
                AnswerCache(self._cache) as answers,
            ):
                return asyncio.run(asking(report, answers, Path(logs)))
        except KeyboardInterrupt:
            err.print("stopped. The answers so far are cached: run the same command again to go on")
            raise typer.Exit(130) from None

    def _server(self, report: Report, logs: Path) -> Any:
        from model_store.evaluate.server import GeneralModel, ModelServer

        general = GeneralModel(self._model, _prompts(self._settings)) if self._model else None
        key = self._settings.summarizer.api_key
        return ModelServer(
            self._manifest,
            self._registry,
            self._url,
            logs / "vllm.log",
            report,
            general=general,
            api_key=key.get_secret_value() if key and self._url else None,
        )


def _prompts(settings: Settings) -> PromptSet:
    return PromptSet.built_in(signals=Signals(settings.signals.vocabulary()))


def general_manifest(model: str, limits: Mapping[str, int]) -> Manifest:
    """The limits of a general model. Its name stands for its weights, which nobody here can hash."""
    return Manifest(
        name="general",
        version=1,
        role="summarizer",
        weights_sha256=hashlib.sha256(model.encode()).hexdigest(),
        prompts_sha256=hash_files(PromptSet.built_in().folder),
        picture=_GENERAL_PICTURE,
        serving=Serving(json_answers=True, max_model_len=4096).model_copy(update=limits),
    )


def _chosen(dataset: Dataset, split: Literal["train", "validation", "test"] | None, users: int | None) -> list[str]:
    chosen = dataset.users(split) if split else list(dataset.histories)
    if users is not None:
        chosen = sorted(chosen, key=lambda user: hashlib.sha256(user.encode()).digest())[:users]
    return chosen


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with new_file(file, force=True) as lines:
        for row in rows:
            lines.write(json.dumps(row) + "\n")


def _report(written: "Written", what: str, file: Path) -> None:
    say(f"{what}, {written.asked:,} prompts asked, the others cached: {file}")
    if written.failures:
        print_table(((reason, f"{count:,}") for reason, count in written.failures.most_common()), "failed", "prompts")
        raise typer.Exit(1)
