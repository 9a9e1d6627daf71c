"""`models train-embedder`: trains vectors of items on which items users liked one after the other (NoteLLM-2)."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model_store.data.dataset import Dataset, DatasetError, Split
from model_store.devices import multiplies_fast, training_device
from model_store.evaluate.metrics import auc, hit_rate_at_k
from model_store.msr.parts.run_state import RunError, RunState, load_run, save_run
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.trainer import one_cycle
from model_store.notellm2.base import SCRATCH, open_base
from model_store.notellm2.connector import Connector, ConnectorSizes
from model_store.notellm2.features import look_at_all
from model_store.notellm2.items import Items, embed_all
from model_store.notellm2.loss import PartnerShares, info_nce
from model_store.notellm2.model import ItemBatch, ItemModel, Vectors
from model_store.notellm2.options import EmbedderOptions
from model_store.notellm2.sampling import VALIDATION_PARTNERS, PairDraw, PairValidation, visible_likes
from model_store.notellm2.tokens import READ, ItemTokens
from model_store.notellm2.vision import Seen, Vision, open_vision
from model_store.pictures import PictureSize
from model_store.progress import Report
from model_store.prompts.embed import EmbedPrompts
from model_store.registry.manifest import hash_files
from model_store.retrieval.pairs import ItemPairs, pairs
from model_store.signals import BUILT_IN

_REPORT_EVERY_S, _SAVE_EVERY_S = 10.0, 120.0
_SCALE_RATE = 1e-3
_SETTLED_ON = 256
"""Items over which hidden states are standardized after the training."""


@dataclass(frozen=True, slots=True)
class TrainedEmbedder:
    """The end of a run, with the best weights."""

    model: ItemModel
    tokens: ItemTokens
    vision: Vision | None
    items: Items
    state: RunState
    options: EmbedderOptions
    origin: str
    adapted: bool
    measured: dict[str, float]
    """On pairs of validation users."""


class EmbedderRun:
    """One training run; everything that can be refused is refused here, before the work.

    Args:
        base: the folder of a causal language model, or `scratch`.
        vision: the folder of a vision encoder, or `builtin`; not used without pictures.
        folder: of the run's state, from which an interrupted run goes on.

    Raises:
        UserError: data, base, vision encoder or an earlier state of the run can't be used.
    """

    def __init__(
        self, dataset: Dataset, base: str, vision: str, folder: Path, options: EmbedderOptions, progress: Report
    ) -> None:
        self.options, self.folder, self.progress = options, folder, progress
        self.rng = random.Random(options.seed)  # noqa: S311
        self.catalogue = Catalogue(dataset, PictureSize())
        pictured = options.inputs != "words" and dataset.has_pictures
        if options.inputs == "picture" and not pictured:
            raise DatasetError("no item of the data has a picture (`image` in items.jsonl)")
        self.pairs = self._pairs(dataset, "train", options.top_pairs)
        tests = self._pairs(dataset, "validation", VALIDATION_PARTNERS).without(self.pairs)
        if len(self.pairs) < options.pairs or not len(tests):
            raise DatasetError(
                f"the data has {len(self.pairs)} pairs of items that users liked one after the other, and "
                f"{len(tests)} for validation: an embedder needs at least {options.pairs} (--pairs) and 1"
            )
        self.device = training_device()
        bf16 = base != SCRATCH and options.adapter is not None and multiplies_fast(self.device)
        self.bf16 = bf16 if options.bf16 is None else options.bf16
        self.vision = open_vision(vision) if pictured else None
        opened = open_base(
            base,
            self.catalogue_texts(),
            sizes=options.scratch,
            adapter=options.adapter,
            layers=options.layers,
            bf16=self.bf16,
            seed=options.seed,
        )
        self.base = opened
        prompts = EmbedPrompts.built_in("embed" if options.micl else "embed_early", READ)
        self.tokens = ItemTokens(opened.tokenizer, prompts, options.queries if pictured else 0)
        self.identity = self._identity(dataset, base, vision)
        folder.mkdir(parents=True, exist_ok=True)
        self.state = RunState()
        restored = load_run(folder, self.identity, self.rng)
        seen = None
        if self.vision is not None:
            seen = look_at_all(self.vision, self.catalogue.images, folder, progress)
        self.items = Items(self.catalogue, self.tokens, seen, options.inputs)
        self.model = self._model(seen).to(self.device)
        self.optimizer = self._optimizer()
        self._draw = PairDraw(self.pairs, self.catalogue.number)
        self._shares = PartnerShares(self.pairs, self.catalogue.number, options.partners)
        self.validation = PairValidation.among(tests, self.catalogue.number, options.validation_items, options.seed)
        self._best: dict[str, Any] = {}
        self._measured: dict[str, float] = {}
        if restored is not None:
            self.state, tensors = restored
            self._best, self._measured = tensors["best"], tensors["measured"]
            self._load(tensors["weights"])
            self.optimizer.load_state_dict(tensors["optimizer"])

    def catalogue_texts(self) -> list[str]:
        """The texts of the items as prompts show them, for the tokenizer of a new model."""
        prompts = EmbedPrompts.built_in("embed", READ)
        return [prompts.text(view, picture=True).replace(READ, "") for view in self.catalogue.views]

    def train(self) -> TrainedEmbedder:
        """Train until the time or the steps are used up, or validation stops improving.

        Raises:
            RunError: the training has diverged, or ended before its first validation.
        """
        reported = saved = time.monotonic()
        losses: list[float] = []
        while (done := self._done()) < 1 and self.state.without_gain < self.options.patience:
            start = time.monotonic()
            losses.append(self._step(done))
            now = time.monotonic()
            self.state.step += 1
            self.state.seconds += now - start
            if now - reported > _REPORT_EVERY_S:
                note = f"step {self.state.step}: loss {sum(losses) / len(losses):.3f}"
                self.progress("training", self._done(), note)
                reported, losses = now, []
            if self._done() * self.options.validations >= self.state.validations + 1:
                self._validate()
                self.save()
            elif now - saved > _SAVE_EVERY_S:
                self.save()
                saved = now
        if not self._best:
            raise RunError(
                f"the run ended after {self.state.step} steps, before its first validation: train longer, with more "
                "--steps or --minutes, and another --run"
            )
        self._load(self._best)
        note = f"best AUC {100 * self.state.best:.1f} % at step {self.state.best_step}"
        self.progress("training", 1.0, note)
        return TrainedEmbedder(
            model=self.model.cpu().eval(),
            tokens=self.tokens,
            vision=self.vision,
            items=self.items,
            state=self.state,
            options=self.options,
            origin=self.base.origin,
            adapted=self.base.adapted,
            measured=self._measured,
        )

    def save(self) -> None:
        """Write the state of the run, from which another process continues it."""
        tensors = {
            "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "best": self._best,
            "measured": self._measured,
        }
        save_run(self.folder, self.identity, self.state, self.rng, tensors)

    def _identity(self, dataset: Dataset, base: str, vision: str) -> dict[str, Any]:
        """What must be the same when the run goes on."""
        options = asdict(replace(self.options, signals=BUILT_IN, minutes=0.0, steps=None))
        options.pop("signals")
        return {
            "base": base if base == SCRATCH else hash_files(Path(base)),
            "vision encoder": self.vision.key if self.vision else vision,
            "data set": [len(dataset.items), len(dataset.histories), sum(map(len, dataset.histories.values()))],
            "length": [self.options.steps, None if self.options.steps else self.options.minutes],
            "set of options": options,
        }

    def _model(self, seen: Seen | None) -> ItemModel:
        options = self.options
        torch.manual_seed(options.seed)
        embeddings = self.base.model.get_input_embeddings().weight
        width, scale = int(embeddings.shape[1]), float(embeddings.detach().float().std())
        cells, numbers, feature = (
            (seen.cells.shape[1], seen.cells.shape[2], seen.feature.shape[1]) if seen else (1, 1, 1)
        )
        sizes = ConnectorSizes(options.queries, options.inner, options.connector_layers, width=width)
        connector = Connector(cells, numbers, feature, sizes, scale)
        if seen is not None:
            connector.standardize(seen)
        return ItemModel(
            self.base.model, connector, options.dimensions, late_fusion=options.late_fusion and seen is not None
        )

    def _pairs(self, dataset: Dataset, split: Split, top: int) -> ItemPairs:
        options = self.options
        likes = visible_likes(dataset, split, seed=options.seed, cold_share=options.cold_share)
        return pairs(likes, top=top, window=options.window, discount=options.discount)

    def _settle(self) -> None:
        count = min(_SETTLED_ON, len(self.items))
        some = random.Random(self.options.seed).sample(range(len(self.items)), count)  # noqa: S311
        self.model.eval()
        with torch.inference_mode(), self._precision():
            self.model.settle(*self._batch(some, [True] * count))

    def _optimizer(self) -> torch.optim.Optimizer:
        llm = [weight for weight in self.model.llm.parameters() if weight.requires_grad]
        known = set(map(id, self.model.llm.parameters()))
        known.add(id(self.model.log_scale))
        new = [weight for weight in self.model.parameters() if id(weight) not in known]
        groups = [
            {"params": llm, "peak": self.options.llm_rate, "weight_decay": 0.01},
            {"params": new, "peak": self.options.new_rate, "weight_decay": 0.01},
            {"params": [self.model.log_scale], "peak": _SCALE_RATE, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), lr=0.0)

    def _step(self, done: float) -> float:
        """Learn from some pairs; returns the loss."""
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * one_cycle(done)
        left, right = self._draw(self.rng, options.pairs)
        numbers = [*left, *right]
        kept = [self.rng.random() >= options.drop_picture or options.inputs == "picture" for _ in numbers]
        self.model.train()
        found = self._embed(numbers, kept)
        items, scale = torch.tensor(numbers, device=self.device), self.model.scale
        shares = self._shares(numbers).to(self.device)
        loss = (1 - options.picture_weight) * info_nce(found.whole, items, shares, scale)
        place = {row: number for number, row in enumerate(found.pictured.tolist())}
        alone = [row for row in range(options.pairs) if row in place and row + options.pairs in place]
        if len(alone) > 1:
            rows = alone + [row + options.pairs for row in alone]
            among = shares[rows][:, rows]
            among = among / among.sum(1, keepdim=True)
            picture = found.picture[[place[row] for row in rows]]
            loss = loss + options.picture_weight * info_nce(picture, items[rows], among, scale)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(f"the loss of step {self.state.step + 1} is no number")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [weight for group in self.optimizer.param_groups for weight in group["params"]], 1.0
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _embed(self, numbers: Sequence[int], picture: Sequence[bool], *, words: bool = True) -> Vectors:
        with self._precision():
            found: Vectors = self.model(*self._batch(numbers, picture, words=words))
        return found

    def _batch(
        self, numbers: Sequence[int], picture: Sequence[bool], *, words: bool = True
    ) -> tuple[ItemBatch, Seen | None]:
        batch, seen = self.items.batch(numbers, picture, words=words)
        return batch.to(self.device), seen and Seen(*(part.to(self.device) for part in seen))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _validate(self) -> None:
        """Keep the weights if they are the best so far."""
        self._settle()
        measured = self._measure(words=True)
        if self.vision is not None and self.options.inputs == "both":
            measured |= {f"{name} of pictures alone": value for name, value in self._measure(words=False).items()}
        self.state.validations += 1
        note = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measured.items())
        self.progress("validation", 1.0, f"step {self.state.step}: {note}")
        if measured["AUC"] <= self.state.best:
            self.state.without_gain += 1
            return
        self.state.best, self.state.best_step, self.state.without_gain = measured["AUC"], self.state.step, 0
        self._best, self._measured = self._weights(), measured

    def _measure(self, *, words: bool) -> dict[str, float]:
        """How near partners are, by vectors of whole items or of pictures alone."""
        vectors = self._pool_vectors(words=words)
        if not vectors.isfinite().all():
            raise self._diverged(f"the vectors after step {self.state.step} are no numbers")
        ranks = self.validation.ranks(vectors)
        return {"AUC": float(auc(ranks).mean()), "recall@10": float(hit_rate_at_k(ranks, 10).mean())}

    def _diverged(self, why: str) -> RunError:
        return RunError(
            f"{why}, the training has diverged: start again with another --seed or a lower --learning-rate, and "
            "another --run"
        )

    def _pool_vectors(self, *, words: bool) -> torch.Tensor:
        def share(done: float) -> None:
            self.progress("validation", done, f"{len(self.validation.pool)} items")

        self.model.eval()
        with torch.inference_mode():
            return embed_all(self._embed, self.items, self.validation.pool, words=words, progress=share).cpu()

    def _done(self) -> float:
        if self.options.steps:
            return self.state.step / self.options.steps
        return self.state.seconds / (60 * self.options.minutes)

    def _weights(self) -> dict[str, Any]:
        """Copies of all weights that are trained, and of the statistics of connector and hidden states."""
        trained = {name for name, weight in self.model.named_parameters() if weight.requires_grad}
        trained |= {name for name, _ in self.model.named_buffers() if not name.startswith("llm.")}
        return {name: value.detach().clone() for name, value in self.model.state_dict().items() if name in trained}

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        if self.model.load_state_dict(weights, strict=False).unexpected_keys:
            raise RunError(f"{self.folder} has weights of another model: delete it to start again")
