"""Is a blend of co-occurrence and popularity as good as the better of the two, whatever the kind of the candidates?

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
from model_store.evaluate.likes import Likes
from model_store.evaluate.metrics import Floats, confidence, paired_difference
from model_store.evaluate.protocol import liked_by
from model_store.registry.manifest import Blend


def boards(dataset: Dataset, counts: Cooccurrence, split: Split, count: int, per_user: int, seed: int) -> Boards:
    """Cases of which the ranker knows nothing."""
    cases = mixed_cases(dataset, counts, seed, split=split, count=count, per_user=per_user)
    return make_boards(cases, counts, [[0.0] * len(one.case.candidates) for one in cases])


def rows(blend: Blend, unseen: Boards) -> list[tuple[str, ...]]:
    """Per kind: users, AUC of both parts and of the blend, and its difference to the better part."""
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
    args = parser.parse_args()
    dataset = read_dataset(args.data)
    counts = Likes(liked_by(dataset, "train")).cooccurrence()
    blend = fit_blend(boards(dataset, counts, "validation", args.cases, 5, args.seed))
    unseen = boards(dataset, counts, "test", args.users, 1, args.seed)
    print(f"{args.data.name}, seed {args.seed}: {blend!r}\n")
    print("| candidates | users | co-occurrence | popularity | blend | blend minus the better |\n" + "| --- " * 6 + "|")
    for row in rows(blend, unseen):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
