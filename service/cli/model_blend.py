"""`tastestream models refit-blend`: a version with the weights of another and a blend fitted anew."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from model_store.errors import UserError
from model_store.progress import stages
from model_store.registry.manifest import Blend
from model_store.registry.register import register_blend
from model_store.signals import Signals
from service.cli.answer_log import LogError, explored, read_log
from service.cli.audit import audited
from service.cli.model_store import Reference, own_store
from service.cli.options import MAX_SEED, ModelStore, RankerUrl, Summarizer, SummarizerUrl
from service.cli.terminal import print_table, say, settings_or_exit

if TYPE_CHECKING:
    from model_store.evaluate.refit import Refitted
    from model_store.evaluate.subject import Subject


def refit_blend(
    version: Reference,
    data: Annotated[
        Path | None, typer.Option(help="A dataset folder, whose validation users are asked for.", show_default=False)
    ] = None,
    log: Annotated[Path | None, typer.Option(help="What `recommendations export` wrote.", show_default=False)] = None,
    summarizer: Summarizer = None,
    ranker_url: RankerUrl = None,
    summarizer_url: SummarizerUrl = None,
    cases: Annotated[int, typer.Option(help="Choices of validation users to fit on.", min=10, max=100_000)] = 600,
    seed: Annotated[int, typer.Option(help="Draws the cases.", min=0, max=MAX_SEED)] = 0,
    store: ModelStore = None,
) -> None:
    """Register the next version of a ranker, with the same weights and a blend fitted anew.

    Either on --data: validation users' liked items among popular, uniform and retrieved ones, scored by the version's
    servers. Or on --log: what users chose of logged answers, which must have been shuffled a little
    (`TASTESTREAM_RECOMMEND__EXPLORATION_TEMPERATURE`), since otherwise their order explains the choices as well as the
    scores do.

    Example:

        tastestream models refit-blend shop-ranker --log shown.jsonl
    """
    from model_store.evaluate.subject import Subject

    settings = settings_or_exit()
    registry = own_store(store)
    if data is not None and log is None:
        urls = {"ranker_url": ranker_url, "summarizer_url": summarizer_url}
        subject = Subject.of(version, summarizer, registry, **urls)
        manifest = subject.ranker
        refitted = _on_dataset(subject, data, Signals(settings.signals.vocabulary()), cases, seed)
    elif log is not None and data is None:
        manifest = registry.get(version)
        if manifest.role != "ranker":
            raise UserError(f"{manifest.id} is {manifest.role_with_article}, and has no blend")
        refitted = _on_log(log, manifest.id)
    else:
        raise typer.BadParameter("name either --data or --log")
    with audited("model.refit_blend", model=manifest.id, store=registry.root) as fields:
        added = register_blend(registry, manifest, *refitted)
        fields["version"] = added.id
    _print(manifest.blend, refitted)
    say(f"registered {added.id}, which shares the weights of {manifest.id}")
    say(f"next: tastestream models promote {added.name} {added.version} --alias canary --share 10%")


def _on_dataset(subject: "Subject", data: Path, signals: Signals, cases: int, seed: int) -> "Refitted":
    from model_store.data.dataset import read_dataset
    from model_store.evaluate.answers import AnswerCache
    from model_store.evaluate.refit import refit_on_dataset
    from service.cli.evaluate import CACHE

    dataset = read_dataset(data, signals)
    with stages() as report, AnswerCache(CACHE) as cache, TemporaryDirectory(prefix="tastestream-refit-") as logs:
        return asyncio.run(refit_on_dataset(subject, dataset, cache, Path(logs), report, count=cases, seed=seed))


def _on_log(log: Path, version: str) -> "Refitted":
    from model_store.evaluate.refit import logged_items, refit_on_log

    answers = [answer for answer in read_log(log) if answer.model == version]
    if not answers:
        raise LogError(f"{log} has no answer of {version}")
    return refit_on_log(
        [
            logged_items([row.features for row in answer.rows], [row.outcome == "positive" for row in answer.rows])
            for answer in explored(answers)
        ]
    )


def _print(before: Blend, after: "Refitted") -> None:
    rows = ((name, f"{value:.4f}", f"{getattr(after.blend, name):.4f}") for name, value in before.model_dump().items())
    print_table(rows, "weight", "before", "after")
    for kind, aucs in after.evaluation.get("validation_auc", {}).items():
        say(f"AUC, {kind} candidates: " + ", ".join(f"{name} {value:.1f}" for name, value in aucs.items()))
