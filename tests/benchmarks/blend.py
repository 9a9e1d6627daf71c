"""Is a blend of co-occurrence, popularity and item weights as good as the best of them, whatever the candidates?

Fits the blend on the validation users of a dataset folder and ranks a liked item of test users, without a ranker:

    python -m tests.benchmarks.blend --data DIR

`--sequence vectors` then learns item vectors from the training users, or `--sequence GRU4Rec` a sequential model, and
shows what their score as one more feature brings.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_store.blend import FEATURES
from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import read_dataset
from model_store.evaluate.blend import SINGLE, Boards, blend_auc, fit_blend, weights_of
from model_store.evaluate.blend_cases import MixedCase, make_boards, mixed_cases
from model_store.evaluate.item_vectors import VectorOptions, learn_item_vectors
from model_store.evaluate.item_weights import MAX_ITEMS, learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Floats, Interval, confidence, paired_difference
from model_store.evaluate.protocol import liked_by
from model_store.evaluate.sequential import EPOCHS, SEQUENTIAL, Sequential, fit_sequential
from model_store.evaluate.served import near
from model_store.item_vectors import ItemVectors
from model_store.item_weights import ItemWeights
from model_store.progress import quiet
from model_store.registry.manifest import Blend

VECTORS = "vectors"


def boards(
    cases: Sequence[MixedCase],
    counts: Cooccurrence,
    item_weights: ItemWeights,
    sequence: Sequential | ItemVectors | None = None,
) -> Boards:
    """The features of cases of which the ranker knows nothing.

    The score of `sequence` takes the place of the ranker's log-odds: it was trained by a softmax over items, so its
    differences between candidates are log-odds as well, and what all of a case share changes nothing.
    """
    scores = [
        sequence.score(near(one.case.history), one.case.candidates) if sequence else [0.0] * len(one.case.candidates)
        for one in cases
    ]
    return make_boards(cases, counts, item_weights, scores)


def rows(blend: Blend, unseen: Boards) -> list[tuple[str, ...]]:
    """Per kind: users, AUC of the parts and of the blend, and its difference to the best part."""
    parts = {name: one for name, one in zip(FEATURES, SINGLE, strict=True) if name != "mllm"}
    found = []
    for kind, board in unseen.items():
        own = board.aucs(weights_of(blend))
        aucs: dict[str, Floats] = {name: board.aucs(one) for name, one in parts.items()}
        best = max(aucs.values(), key=np.mean)
        gap = paired_difference(own, best)
        cells = [f"{100 * float(one.mean()):.1f}" for one in aucs.values()]
        found.append((kind, str(len(board.targets)), *cells, shown(confidence(own)), shown(gap, "+")))
    return found


def sequence_rows(without: Blend, blend: Blend, unseen: Boards) -> Iterator[tuple[str, ...]]:
    """Per kind: users, AUC of the sequential model alone, of the blends without and with it, and their difference."""
    alone = SINGLE[FEATURES.index("mllm")]
    for kind, board in unseen.items():
        own, shorter, longer = (board.aucs(one) for one in (alone, weights_of(without), weights_of(blend)))
        gained = shown(paired_difference(longer, shorter), "+")
        yield kind, str(len(board.targets)), *(shown(confidence(one)) for one in (own, shorter, longer)), gained


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows))


def shown(interval: Interval, sign: str = "") -> str:
    """In percent; `sign` is that of the format."""
    mean, low, high = (f"{100 * one:{sign}.1f}" for one in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def learn(name: str, liked: Sequence[Sequence[str]], epochs: int | None, seed: int) -> Sequential | ItemVectors:
    """The model of this name, trained on the likes of each user."""
    if name == VECTORS:
        options = VectorOptions(seed=seed)
        return learn_item_vectors(liked, replace(options, epochs=epochs) if epochs else options)
    return fit_sequential(name, liked, epochs=epochs or EPOCHS, seed=seed, report=quiet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--cases", type=int, default=600, help="liked items of validation users")
    parser.add_argument("--users", type=int, default=1000, help="test users")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=MAX_ITEMS, help="that get item weights, the most liked ones")
    parser.add_argument("--without", action="store_true", help="without item weights")
    parser.add_argument("--sequence", choices=[VECTORS, *SEQUENTIAL], help="also with the score of this model")
    parser.add_argument("--epochs", type=int, help="of that model; by default as many as it is trained for elsewhere")
    args = parser.parse_args()
    dataset = read_dataset(args.data)
    liked = list(liked_by(dataset, "train"))
    likes = Likes(liked)
    counts = likes.cooccurrence()
    item_weights = ItemWeights() if args.without else learn_item_weights(likes, max_items=args.items)
    validation = mixed_cases(dataset, counts, args.seed, split="validation", count=args.cases, per_user=5)
    test = mixed_cases(dataset, counts, args.seed, split="test", count=args.users, per_user=1)
    blend = fit_blend(boards(validation, counts, item_weights))
    print(f"{args.data.name}, seed {args.seed}: {blend!r}\n")
    parts = ("candidates", "users", "co-occurrence", "popularity", "item weights", "blend", "blend minus the best")
    print(table(parts, rows(blend, boards(test, counts, item_weights))))
    if args.sequence:
        started = time.process_time()
        model = learn(args.sequence, liked, args.epochs, args.seed)
        spent = time.process_time() - started
        fitted_on, unseen = (boards(cases, counts, item_weights, model) for cases in (validation, test))
        longer = fit_blend(fitted_on)
        print(f"\n{args.sequence}, {spent:.0f} CPU seconds, as mllm: {longer!r}")
        print(f"AUC of validation users: {blend_auc(longer, fitted_on)}\n")
        gains = ("candidates", "users", args.sequence, "blend without", "blend with it", "with minus without")
        print(table(gains, sequence_rows(blend, longer, unseen)))


if __name__ == "__main__":
    main()
