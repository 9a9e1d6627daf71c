"""`train-parts`: fine-tunes a language model with soft tokens of pictures on a dataset folder.

Two stages, as LLaVA does: first the projector alone, on what the pictures show (their captions or genres, if there are
any); then the projector and LoRA together, on ranking. The vision encoder stays frozen: its features are computed once.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from model_store.data.dataset import Dataset, DatasetError
from model_store.devices import multiplies_fast, training_device
from model_store.evaluate.protocol import EvaluationCase, Protocol, ProtocolError, make_cases
from model_store.msr.parts import lora
from model_store.msr.parts.encoder import FrozenVision, Projector, ProjectorSizes
from model_store.msr.parts.encoding import SoftTokenEncoder
from model_store.msr.parts.features import picture_features
from model_store.msr.parts.ranker import PackedRanker
from model_store.msr.parts.run_state import RunError, RunState, load_run, save_run
from model_store.msr.parts.scoring import PackedScorer, mean_auc
from model_store.msr.parts.trainer import Stage, StepOptions, Trainer
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.examples import ExampleOptions, Examples
from model_store.msr.scratch.packing import PackedPrompt, Segment
from model_store.msr.teacher import RuleBasedTeacher, TermFinder
from model_store.pictures import PictureSize
from model_store.progress import Report
from model_store.prompts import PromptSet
from model_store.registry.manifest import hash_files
from model_store.signals import BUILT_IN, Signals

_REPORT_EVERY_S = 10.0
_SAVE_EVERY_S = 120.0
_DESCRIBED_PER_ROW = 16


@dataclass(frozen=True, slots=True)
class PartsOptions:
    """How long and how to train.

    `minutes` bounds the optimizer's time, and the learning rate follows the clock. `steps`, if given, replaces it and
    makes a run repeatable.
    """

    minutes: float = 60.0
    steps: int | None = None
    seed: int = 0
    rows: int = 2
    """Users in one step."""
    grid: tuple[int, int] = (2, 2)
    """Rows and columns of cells of a picture; each cell is one soft token."""
    align: float = 0.08
    """The share of the run that trains the projector alone."""
    adapter: lora.LoraSizes = field(default_factory=lora.LoraSizes)
    step: StepOptions = field(default_factory=StepOptions)
    examples: ExampleOptions = field(
        default_factory=lambda: ExampleOptions(candidates=16, drop_words=0.05, max_tokens=640)
    )
    validations: int = 4
    """How often the run is validated, at equal distances; the best weights are kept."""
    validation_users: int = 48
    patience: int = 3
    """Validations without a better AUC after which the run ends."""
    blend_cases: int = 200
    """Cases of validation users on which the blend is fitted."""
    bf16: bool | None = None
    """Multiply in bfloat16; None does if the processor has units for it."""
    signals: Signals = BUILT_IN


@dataclass(frozen=True, slots=True)
class Tuned:
    """The end of a run: the best adapters, the projector, and how they were found."""

    adapters: dict[str, torch.Tensor]
    projector: Projector
    encoder: SoftTokenEncoder
    scorer: PackedScorer
    features: torch.Tensor
    state: RunState
    options: PartsOptions
    pixels: int
    """The side of a picture as the vision encoder sees it."""


class Run:
    """One training run; everything that can be refused is refused here, before the work."""

    def __init__(
        self, dataset: Dataset, llm: Path, vision: Path, folder: Path, options: PartsOptions, progress: Report
    ) -> None:
        self.options, self.folder, self.progress = options, folder, progress
        self.rng = random.Random(options.seed)
        histories = [dataset.histories[user] for user in dataset.users("train") if len(dataset.histories[user]) > 1]
        if len(histories) < 2:
            raise DatasetError("fewer than two users of the train split have two interactions: nothing can be learned")
        if not dataset.has_pictures:
            raise DatasetError(
                "no item of the data has a picture: a model of parts needs them (`image` in items.jsonl)"
            )
        self.cases = _validation_cases(dataset, options)
        device = training_device()
        bf16 = multiplies_fast(device) if options.bf16 is None else options.bf16
        model, tokenizer = lora.load_language_model(llm, torch.bfloat16 if bf16 else torch.float32)
        model.to(device)
        encoder_of_pictures = FrozenVision.load(vision)
        prompts = PromptSet.built_in("plain", options.signals)
        rows, columns = options.grid
        self.encoder = SoftTokenEncoder(tokenizer, prompts, rows * columns)
        self.model = lora.adapted(model, options.adapter, options.seed)
        self.pixels = encoder_of_pictures.model.sizes.picture
        embeddings = model.get_input_embeddings().weight
        sizes = ProjectorSizes(rows, columns, embeddings.shape[1])
        scale = float(embeddings.float().std())
        self.projector = Projector(encoder_of_pictures.model.sizes.features, sizes, scale).to(device)
        self.catalogue = Catalogue(dataset, PictureSize())
        terms = TermFinder.learn(self.catalogue.views)
        teacher = RuleBasedTeacher(signals=options.signals)
        self.examples = Examples(self.catalogue, histories, self.encoder, teacher, terms, options.examples)
        self.examples.require_ranking(options.seed)
        key = hash_files(vision)
        self.identity: dict[str, Any] = {
            "language model": hash_files(llm),
            "vision encoder": key,
            "data set": [len(dataset.items), len(dataset.histories), sum(map(len, dataset.histories.values()))],
            "length": [options.steps, None if options.steps else options.minutes],
            "set of options": _plain(options),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.state = RunState()
        restored = load_run(folder, self.identity, self.rng)
        self.features = picture_features(
            encoder_of_pictures, key, self.catalogue.images, options.grid, folder, progress
        )
        ranker = PackedRanker(self.model.get_base_model(), self.projector, self.encoder.labels, self.features, bf16)
        self.trainer = Trainer(ranker, options.step)
        self.scorer = PackedScorer(ranker.score, self.catalogue, self.encoder, teacher, terms)
        self.summaries = self.scorer.summaries(self.cases, lambda done: progress("summaries", done, ""))
        self._best: dict[str, Any] = {}
        if restored is not None:
            self._restore(*restored)

    def train(self) -> Tuned:
        """Train until the time or the steps are used up, or validation stops improving."""
        reported = saved = time.monotonic()
        losses: list[float] = []
        while (done := self._done()) < 1 and self.state.without_gain < self.options.patience:
            start = time.monotonic()
            stage, share = self._stage(done)
            losses.append(self._learn(stage, share))
            now = time.monotonic()
            self.state.step += 1
            self.state.seconds += now - start
            if now - reported > _REPORT_EVERY_S:
                note = f"step {self.state.step}, {stage}: loss {sum(losses) / len(losses):.3f}"
                self.progress("training", self._done(), note)
                reported, losses = now, []
            if stage == "rank" and self._done() * self.options.validations >= self.state.validations + 1:
                self._validate()
                self.save()
            elif now - saved > _SAVE_EVERY_S:
                self.save()
                saved = now
        self.progress(
            "training", 1.0, f"best validation AUC {100 * self.state.best:.1f} at step {self.state.best_step}"
        )
        return self._tuned()

    def _learn(self, stage: Stage, share: float) -> float:
        """One step; its loss.

        Raises:
            RunError: the training has diverged.
        """
        loss = self.trainer.step(list(self._draw(stage)), stage, share)
        if not math.isfinite(loss):
            raise RunError(
                f"the loss of step {self.state.step + 1} is no number, the training has diverged: "
                f"start again with another --seed or a smaller --rank, and another --run"
            )
        return loss

    def _tuned(self) -> Tuned:
        if not self._best:
            raise RunError(
                f"the run ended after {self.state.step} steps, before it learned anything about ranking: train longer, "
                "with more --steps or --minutes, and another --run"
            )
        best = self._best
        self.projector.load_state_dict(best["projector"])
        return Tuned(
            adapters={name: tensor.cpu() for name, tensor in best["adapters"].items()},
            projector=self.projector.cpu().eval(),
            encoder=self.encoder,
            scorer=self.scorer,
            features=self.features,
            state=self.state,
            options=self.options,
            pixels=self.pixels,
        )

    def save(self) -> None:
        """Write the state of the run, from which another process continues it."""
        tensors = {**self._weights(), "optimizer": self.trainer.optimizer.state_dict(), "best": self._best}
        save_run(self.folder, self.identity, self.state, self.rng, tensors)

    def _restore(self, state: RunState, tensors: dict[str, Any]) -> None:
        self.state, self._best = state, tensors["best"]
        lora.load_adapters(self.model, tensors["adapters"])
        self.projector.load_state_dict(tensors["projector"])
        self.trainer.optimizer.load_state_dict(tensors["optimizer"])

    def _weights(self) -> dict[str, Any]:
        copied = {name: tensor.detach().clone() for name, tensor in lora.adapters(self.model).items()}
        projector = {name: tensor.detach().clone() for name, tensor in self.projector.state_dict().items()}
        return {"adapters": copied, "projector": projector}

    def _done(self) -> float:
        if self.options.steps:
            return self.state.step / self.options.steps
        return self.state.seconds / (60 * self.options.minutes)

    def _stage(self, done: float) -> tuple[Stage, float]:
        """The stage, and the share of it that is done."""
        align = self.options.align if self.examples.can_describe else 0.0
        return ("align", done / align) if done < align else ("rank", (done - align) / (1 - align))

    def _draw(self, stage: Stage) -> Iterator[PackedPrompt]:
        for _ in range(self.options.rows):
            yield self._described() if stage == "align" else self._ranking()

    def _ranking(self) -> PackedPrompt:
        while True:
            _, ranking = self.examples.visit(self.rng, 0)
            if ranking is not None:
                return ranking

    def _described(self) -> PackedPrompt:
        """Pictures with their captions as answers; they share the start of the chat."""
        suffixes = []
        for item in self.rng.choices(self.examples.described, k=_DESCRIBED_PER_ROW):
            answer = self.encoder.answer(self.catalogue.captions[item])
            ids = self.encoder.describe_item(self.catalogue.views[item]) + answer
            suffixes.append(Segment(ids, (self.catalogue.picture[item],), len(answer)))
        return PackedPrompt(Segment(self.encoder.head), tuple(suffixes), job="describe")

    def _validate(self) -> None:
        """Score the validation cases; keep the weights if they are the best so far."""
        odds = self.scorer.score(
            self.cases,
            self.summaries,
            progress=lambda done: self.progress("validation", done, f"{len(self.cases)} users"),
        )
        found = mean_auc(odds, self.cases)
        self.state.validations += 1
        self.progress("validation", 1.0, f"step {self.state.step}: AUC {100 * found:.1f}")
        if found <= self.state.best:
            self.state.without_gain += 1
            return
        self.state.best, self.state.best_step, self._best = found, self.state.step, self._weights()
        self.state.without_gain = 0


def _validation_cases(dataset: Dataset, options: PartsOptions) -> list[EvaluationCase]:
    protocol = Protocol("popular", "validation", options.validation_users, seed=options.seed)
    try:
        return make_cases(dataset, protocol)
    except ProtocolError as error:
        raise DatasetError(f"the data has too few users or items to validate a model: {error}") from None


def _plain(options: PartsOptions) -> dict[str, Any]:
    """What changes the course of a run, as JSON keeps it."""
    kept = {"rows": options.rows, "grid": list(options.grid), "align": options.align, "seed": options.seed}
    return kept | {"lora": asdict(options.adapter), "step": asdict(options.step), "examples": asdict(options.examples)}
