"""Is a blend of co-occurrence, popularity and item weights as good as the best of them, whatever the candidates?

Fits the blend on the validation users of a dataset folder and ranks a liked item of test users, without a ranker:

    python -m tests.benchmarks.blend --data DIR
"""

import argparse
from pathlib import Path

import numpy as np

from model_store.blend import FEATURES
from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset, Split, read_dataset
from model_store.evaluate.blend import SINGLE, Boards, fit_blend, weights_of
from model_store.evaluate.blend_cases import make_boards, mixed_cases
from model_store.evaluate.item_weights import MAX_ITEMS, learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Floats, confidence, paired_difference
from model_store.evaluate.protocol import liked_by
from model_store.item_weights import ItemWeights
from model_store.registry.manifest import Blend


def boards(
    dataset: Dataset,
    counts: Cooccurrence,
    item_weights: ItemWeights,
    split: Split,
    *,
    count: int,
    per_user: int,
    seed: int,
) -> Boards:
    """Cases of which the ranker knows nothing."""
    cases = mixed_cases(dataset, counts, seed, split=split, count=count, per_user=per_user)
    return make_boards(cases, counts, item_weights, [[0.0] * len(one.case.candidates) for one in cases])


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
        interval = confidence(own)
        blended = f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
        gained = f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
        found.append((kind, str(len(board.targets)), *cells, blended, gained))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--cases", type=int, default=600, help="liked items of validation users")
    parser.add_argument("--users", type=int, default=1000, help="test users")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=MAX_ITEMS, help="that get item weights, the most liked ones")
    parser.add_argument("--without", action="store_true", help="without item weights")
    args = parser.parse_args()
    dataset = read_dataset(args.data)
    likes = Likes(liked_by(dataset, "train"))
    counts = likes.cooccurrence()
    item_weights = ItemWeights() if args.without else learn_item_weights(likes, max_items=args.items)
    fitted_on = boards(dataset, counts, item_weights, "validation", count=args.cases, per_user=5, seed=args.seed)
    blend = fit_blend(fitted_on)
    unseen = boards(dataset, counts, item_weights, "test", count=args.users, per_user=1, seed=args.seed)
    print(f"{args.data.name}, seed {args.seed}: {blend!r}\n")
    print("| candidates | users | co-occurrence | popularity | item weights | blend | blend minus the best |")
    print("| --- " * 7 + "|")
    for row in rows(blend, unseen):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
