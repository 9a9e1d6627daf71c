"""Checks that a server has the right head: it must score one recorded pair correctly before its scores are trusted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import product

from model_store.blend import logit, sigmoid
from model_store.engine.errors import EngineError, EngineTimeout, EngineUnavailable, WrongScores
from model_store.registry.manifest import Probe
from model_store.views import ItemView, UserView

TOLERANCE = 0.25
"""How far the log-odds may be from those recorded: half precision and other kernels change them by less than 0.1."""
SUMMARIES = (
    "This user enjoys jazz, the sea and quiet stories.",
    "This user enjoys comedies set in cities and avoids war.",
)
TITLES = ("The tide of jazz", "War without end", "A city comedy", "Seven")
_TRUSTED_S = 60.0
"""The server at an address may be replaced."""


class Prober:
    """Asks for the score of the version's probe, at most once a minute, and again after `doubt`.

    Args:
        probe: None trusts every server.
        score: asks the server for p(yes) of one item for one user.
    """

    def __init__(self, probe: Probe | None, score: Callable[[UserView, ItemView], Awaitable[float | None]]) -> None:
        self._probe = probe
        self._score = score
        self._asking = asyncio.Lock()
        self._trusted_until = float("-inf")

    def doubt(self) -> None:
        """Check again before the next score: the server may have been replaced."""
        self._trusted_until = float("-inf")

    async def check(self) -> None:
        """
        Raises:
            WrongScores: the server's score differs from the recorded one.
            EngineError: the server could not be asked.
        """
        if self._probe is None or time.monotonic() < self._trusted_until:
            return
        async with self._asking:
            if time.monotonic() < self._trusted_until:
                return
            found = await self._score(UserView(self._probe.summary), ItemView(self._probe.title))
            if found is None or abs(logit(found) - logit(self._probe.score)) > TOLERANCE:
                shown = "none" if found is None else f"{found:.4f}"
                raise WrongScores(
                    f"the server scores the probe {shown}, not {self._probe.score:.4f} as recorded at registration: "
                    "it serves other weights, another scoring head or another chat template"
                )
            self._trusted_until = time.monotonic() + _TRUSTED_S


def is_doubtful(error: EngineError) -> bool:
    """Whether the server may have been replaced after `error`."""
    return isinstance(error, EngineUnavailable | EngineTimeout)


def most_extreme(pairs: Iterable[tuple[str, str]], log_odds: Iterable[float]) -> Probe:
    """The pair with which another head is the most likely to disagree.

    Args:
        pairs: summaries with titles.
        log_odds: the score of each.
    """
    found, (summary, title) = max(zip(log_odds, pairs, strict=True), key=lambda scored: abs(scored[0]))
    return Probe(summary=summary, title=title, score=round(sigmoid(found), 6))


async def ask_probe(score: Callable[[UserView, Sequence[ItemView]], Awaitable[Sequence[float | None]]]) -> Probe:
    """The most extreme pair of `SUMMARIES` and `TITLES`; one without a score counts as undecided.

    Args:
        score: asks a server that is known to be right.

    Raises:
        EngineError: the server could not be asked.
    """
    items = [ItemView(title) for title in TITLES]
    scores = [one for summary in SUMMARIES for one in await score(UserView(summary), items)]
    return most_extreme(product(SUMMARIES, TITLES), [0.0 if one is None else logit(one) for one in scores])
