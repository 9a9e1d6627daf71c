"""The cases of an evaluation's boards, and the baselines that may be learned for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from model_store.data.dataset import Dataset
from model_store.evaluate.baselines import Baseline, fit_simple
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import Protocol, known_before, liked_by, make_cases, split_time
from model_store.evaluate.sequential import SEQUENTIAL, fit_sequential
from model_store.progress import Report


class Known:
    """What may be learned for targets that come at a moment or later, and the baselines that no seed changes."""

    def __init__(self, dataset: Dataset, moment: float, names: Sequence[str]) -> None:
        self.liked = list(liked_by(known_before(dataset, moment), "train"))
        self.likes = Likes(self.liked)
        self.counts = dict(zip(self.likes.items, self.likes.counts.tolist(), strict=False))
        """How many training users liked each item."""
        self.sequential: dict[tuple[str, int], Baseline] = {}
        self.simple = fit_simple([name for name in names if name not in SEQUENTIAL], self.likes)


class Drawn:
    """The cases of a protocol and a seed, and the baselines for them."""

    known: Known
    baselines: Mapping[str, Baseline]

    def __init__(self, name: str, protocol: Protocol, dataset: Dataset) -> None:
        self.name, self.protocol = name, protocol
        self.title = f"{name}, seed {protocol.seed}"
        self.cases = make_cases(dataset, protocol)

    def learn(self, known: Known, names: Sequence[str], epochs: int, report: Report) -> None:
        """Take the baselines that were fitted already, and fit the others."""
        self.known = known
        seed = self.protocol.seed
        for name in names:
            if name in SEQUENTIAL and (name, seed) not in known.sequential:
                model = fit_sequential(name, known.liked, epochs=epochs, seed=seed, report=report)
                known.sequential[name, seed] = model
        self.baselines = {
            name: known.sequential[name, seed] if name in SEQUENTIAL else known.simple[name] for name in names
        }


def draw(
    dataset: Dataset,
    protocols: Mapping[str, Protocol],
    seeds: Sequence[int],
    baselines: Sequence[str],
    epochs: int,
    report: Report,
) -> list[Drawn]:
    """Draw the cases of every protocol and seed, and fit the baselines for them.

    Raises:
        ProtocolError: the data has no user to evaluate.
        UserError: a baseline can't be fitted.
    """
    drawn = [
        Drawn(name, replace(protocol, seed=seed), dataset) for name, protocol in protocols.items() for seed in seeds
    ]
    known: dict[float, Known] = {}
    for one in drawn:
        moment = split_time(dataset, one.protocol)
        if moment not in known:
            known[moment] = Known(dataset, moment, baselines)
        one.learn(known[moment], baselines, epochs, report)
    return drawn
