"""Is a blend of co-occurrence, popularity and item models as good as the best of them, whatever the candidates?

Fits the blend on the validation users of a dataset folder and ranks a liked item of test users, without a ranker:

    python -m tests.benchmarks.blend --data DIR

`--gain item_vectors` also shows what this item model brings to the blend, and `--sequence GRU4Rec` what the score of a
sequential model brings as one more feature.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from model_store.blend import FEATURES
from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import read_dataset
from model_store.evaluate.blend import SINGLE, Boards, blend_auc, fit_blend, weights_of
from model_store.evaluate.blend_cases import MixedCase, make_boards, mixed_cases
from model_store.evaluate.item_vectors import learn_item_vectors
from model_store.evaluate.item_weights import MAX_ITEMS, learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Floats, Interval, confidence, paired_difference
from model_store.evaluate.protocol import liked_by
from model_store.evaluate.sequential import EPOCHS, SEQUENTIAL, Sequential, fit_sequential
from model_store.evaluate.served import near
from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.progress import quiet
from model_store.registry.manifest import Blend


def boards(
    cases: Sequence[MixedCase],
    counts: Cooccurrence,
    item_models: ItemModels,
    sequence: Sequential | None = None,
) -> Boards:
    """The features of cases of which the ranker knows nothing.

    The score of `sequence` takes the place of the ranker's log-odds: it was trained by a softmax over items, so its
    differences between candidates are log-odds as well, and what all of a case share changes nothing.
    """
    scores = [
        sequence.score(near(one.case.history), one.case.candidates) if sequence else [0.0] * len(one.case.candidates)
        for one in cases
    ]
    return make_boards(cases, counts, item_models, scores)


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


def gain_rows(feature: str, without: Blend, blend: Blend, unseen: Boards) -> Iterator[tuple[str, ...]]:
    """Per kind: users, AUC of the feature alone, of the blends without and with it, and their difference."""
    alone = SINGLE[FEATURES.index(feature)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--cases", type=int, default=600, help="liked items of validation users")
    parser.add_argument("--users", type=int, default=1000, help="test users")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=MAX_ITEMS, help="that get item weights, the most liked ones")
    parser.add_argument("--gain", choices=ITEM_MODELS, help="also compare with a blend without this item model")
    parser.add_argument("--sequence", choices=SEQUENTIAL, help="also compare with a blend that has this model's score")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of that model")
    args = parser.parse_args()
    dataset = read_dataset(args.data)
    liked = list(liked_by(dataset, "train"))
    likes = Likes(liked)
    counts = likes.cooccurrence()
    item_models = ItemModels(learn_item_weights(likes, max_items=args.items), learn_item_vectors(liked))
    validation = mixed_cases(dataset, counts, args.seed, split="validation", count=args.cases, per_user=5)
    test = mixed_cases(dataset, counts, args.seed, split="test", count=args.users, per_user=1)
    blend = fit_blend(boards(validation, counts, item_models))
    unseen = boards(test, counts, item_models)
    print(f"{args.data.name}, seed {args.seed}: {blend!r}\n")
    parts = ("co-occurrence", "popularity", *(one.title for one in ITEM_MODELS.values()))
    print(table(("candidates", "users", *parts, "blend", "blend minus the best"), rows(blend, unseen)))
    gains = ("blend without", "blend with it", "with minus without")
    if args.gain:
        fewer = ItemModels(**{name: one for name, one in item_models.present().items() if name != args.gain})
        without = fit_blend(boards(validation, counts, fewer))
        title = ITEM_MODELS[args.gain].title
        print(f"\nwithout {title}: {without!r}\n")
        print(table(("candidates", "users", title, *gains), gain_rows(args.gain, without, blend, unseen)))
    if args.sequence:
        started = time.process_time()
        model = fit_sequential(args.sequence, liked, epochs=args.epochs, seed=args.seed, report=quiet)
        spent = time.process_time() - started
        fitted_on, unseen = (boards(cases, counts, item_models, model) for cases in (validation, test))
        longer = fit_blend(fitted_on)
        print(f"\n{args.sequence}, {spent:.0f} CPU seconds, as mllm: {longer!r}")
        print(f"AUC of validation users: {blend_auc(longer, fitted_on)}\n")
        print(table(("candidates", "users", args.sequence, *gains), gain_rows("mllm", blend, longer, unseen)))


if __name__ == "__main__":
    main()
