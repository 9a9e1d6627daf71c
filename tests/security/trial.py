"""The corpus against one model, with some guards off."""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress

from model_store.engine.engine import Engine
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Role
from model_store.views import UserView
from tests.benchmarks.ranking_models import Ranked
from tests.benchmarks.vllm import running
from tests.security.cases import Case
from tests.security.corpus import Attack
from tests.security.guards import ANSWER_GUARDS, PROMPT_GUARDS, Guard, answers_as_written, without
from tests.security.ranking import Lift, Scores, lifts
from tests.security.summaries import Answers, Fold, Takeover, Written, folds, takeovers

_TIMEOUT_S = 1800.0
_AT_ONCE = 16


@dataclass(frozen=True)
class Servers:
    """The URLs of two servers, and the versions that they serve."""

    ranker: str
    ranks: Ranked
    summarizer: str
    summarizes: Manifest

    def engine(self, role: Role, prompts: PromptSet) -> Engine:
        """A client of one of them that asks with these prompts; the caller closes it."""
        url, manifest = (self.ranker, self.ranks.manifest) if role == "ranker" else (self.summarizer, self.summarizes)
        return Engine(
            url,
            manifest.id,
            prompts,
            # The probe is known for the version's own prompts.
            manifest.model_copy(update={"probe": None}),
            timeout_s=_TIMEOUT_S,
            connect_timeout_s=60.0,
            max_concurrent_calls=_AT_ONCE,
        )


@contextmanager
def serving(model: Ranked, folder: Path, progress: Progress) -> Iterator[Servers]:
    """A pooling and a generating server of the same weights, until the end of the `with`."""
    for name in ("ranker", "summarizer"):
        (folder / name).mkdir()
    with (
        running(model.generating, model.weights, model.prompts, folder / "summarizer", progress) as summarizer,
        running(model.manifest, model.weights, model.prompts, folder / "ranker", progress) as ranker,
    ):
        yield Servers(ranker, model, summarizer, model.generating)


@dataclass(frozen=True)
class Outcome:
    """What came of the corpus with these guards off; `lifts` is empty where only guards of answers are."""

    off: tuple[Guard, ...]
    lifts: list[Lift]
    takeovers: list[Takeover]


class Trial:
    """Asks no model the same twice, so that a setting costs what it changes.

    Args:
        cases: users and attackers.
        corpus: the attacks that are tried; those that reach no prompt of the model are left out.
        scratch: an empty folder.
    """

    def __init__(self, servers: Servers, cases: Sequence[Case], corpus: Sequence[Attack], scratch: Path) -> None:
        self._servers = servers
        self._cases = cases
        self._scratch = scratch
        self._settings = 0
        self._scores = Scores()
        self._written: dict[Hashable, Written] = {}
        with self._prompts(PROMPT_GUARDS) as prompts:
            self.corpus = [attack for attack in corpus if _reaches(prompts, cases[0], attack)]

    def matters(self, guard: Guard) -> bool:
        """Whether any prompt differs when the guard is off."""
        rendered = []
        for off in ((), (guard,)):
            with self._prompts(off) as prompts:
                rendered.append([_rendered(prompts, case, attack) for case in self._cases for attack in self.corpus])
        return rendered[0] != rendered[1]

    def with_all_guards(self) -> list[Outcome]:
        """All guards on, and each guard of answers off in turn, which changes no question."""
        return self._outcomes((), [(), *((guard,) for guard in ANSWER_GUARDS)])

    def without(self, guard: Guard) -> Outcome:
        """One guard of prompts off."""
        (outcome,) = self._outcomes((guard,), [()])
        return outcome

    def without_any(self) -> Outcome:
        """All guards off."""
        (outcome,) = self._outcomes(PROMPT_GUARDS, [ANSWER_GUARDS])
        return outcome

    def _outcomes(self, off: Sequence[Guard], off_in_answers: Sequence[Sequence[Guard]]) -> list[Outcome]:
        serving = self._servers.summarizes.serving
        with self._prompts(off) as prompts, answers_as_written():
            lifted, folded = asyncio.run(self._ask(prompts))
            taken = [
                takeovers(folded, prompts.limits.summary, serving.summary_opening, guards) for guards in off_in_answers
            ]
        return [
            Outcome((*off, *guards), [] if guards and not off else lifted, found)
            for guards, found in zip(off_in_answers, taken, strict=True)
        ]

    async def _ask(self, prompts: PromptSet) -> tuple[list[Lift], list[Fold]]:
        ranker, summarizer = (self._servers.engine(role, prompts) for role in ("ranker", "summarizer"))
        try:
            answers = Answers(summarizer, self._written)
            on_summary = [attack for attack in self.corpus if attack.aim == "summary"]
            on_rank = [attack for attack in self.corpus if attack.aim == "rank"]
            folded = await folds(summarizer, answers, self._cases, on_summary)
            return await lifts(ranker, self._scores, answers, self._cases, on_rank), folded
        finally:
            await ranker.close()
            await summarizer.close()

    @contextmanager
    def _prompts(self, off: Sequence[Guard]) -> Iterator[PromptSet]:
        self._settings += 1
        with without(off, self._servers.ranks.prompts, self._scratch / f"prompts-{self._settings}") as prompts:
            yield prompts


def _reaches(prompts: PromptSet, case: Case, attack: Attack) -> bool:
    """Whether the model sees anything of the attack."""
    if attack.field == "picture":
        return case.own.image is not None
    return _rendered(prompts, case, attack) != _rendered(prompts, case, replace(attack, texts=()))


def _rendered(prompts: PromptSet, case: Case, attack: Attack) -> list[str]:
    """The prompts that an attack of this aim is for."""
    item, user = attack.on_item(case.own), attack.on_user(case.user, case.own.title)
    described = [prompts.describe(item)] if item.image else []
    if attack.aim == "rank":
        return [prompts.rank_user(user), prompts.rank_item(item), *described]
    old = attack.on_user(UserView(case.old), case.own.title).summary
    return [prompts.summarize(old, attack.on_block(case.folded(item))), *described]
