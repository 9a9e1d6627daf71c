"""Shuffles the items of an answer, so that logged answers tell how another order would have done. Off by default.

Only the order within the answer is random: no item is shown that would not have been shown anyway. The order is drawn
from the Plackett-Luce model over the log-odds of the scores divided by a temperature, whose probabilities are exact.
"""

import math
import random
import sys
from collections.abc import Sequence

from service.recommend.blend import Scored

_LEAST, _MOST = 1e-9, 1 - 1e-9


def shuffled(items: Sequence[Scored], temperature: float, rng: random.Random) -> tuple[list[Scored], list[float]]:
    """The items in an order that is drawn, and for each place the probability of its item given those above.

    Args:
        items: those that will be shown, best first.
        temperature: of the log-odds; 0 keeps the order.
    """
    if temperature <= 0:
        return list(items), [1.0] * len(items)
    # By place: rules such as diversity have ordered the items otherwise than by score, and their order is kept.
    odds = sorted((log_odds(item.score) for item in items), reverse=True)
    # With Gumbel noise added, sorting draws from the Plackett-Luce model (Yellott 1977).
    utilities = {id(item): value / temperature for item, value in zip(items, odds, strict=True)}
    noisy = {key: utility + _gumbel(rng) for key, utility in utilities.items()}
    drawn = sorted(items, key=lambda item: -noisy[id(item)])
    return drawn, propensities([utilities[id(item)] for item in drawn])


def _gumbel(rng: random.Random) -> float:
    return -math.log(max(rng.expovariate(1.0), sys.float_info.min))


def propensities(utilities: Sequence[float]) -> list[float]:
    """For each place of a Plackett-Luce order, the probability of its item among those that are left."""
    chances: list[float] = []
    most, total = -math.inf, 0.0
    # From the end, where one item is left, keeping the log of the sum of the exponentials.
    for utility in reversed(utilities):
        if utility > most:
            total = total * math.exp(most - utility) + 1.0 if total else 1.0
            most = utility
        else:
            total += math.exp(utility - most)
        chances.append(math.exp(utility - most) / total)
    return chances[::-1]


def log_odds(score: float) -> float:
    """The log-odds of a score in 0..1, within bounds."""
    bounded = min(max(score, _LEAST), _MOST)
    return math.log(bounded / (1 - bounded))
