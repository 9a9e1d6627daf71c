"""Which model version ranks for a user: production, or for a share of the users the canary."""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from model_store.prompts import RECENTS
from model_store.signals import Signals
from service.recommend.ranker import Ranker
from service.recommend.schemas import Policy

_PLACES = 2**64


class Choice(NamedTuple):
    """The version for one user, and the probability with which the policy was chosen.

    `ranker` is None for a canary that no server serves, whose id `version` is, and without a model.
    """

    ranker: Ranker | None
    policy: Policy
    propensity: float
    version: str = ""


@dataclass(frozen=True, slots=True)
class Lineup:
    """The versions that rank at one moment.

    Args:
        canary_id: the version of the canary; None if there is none.
        canary: its ranker; None while no server serves it.
        share: 0..1, the users of the canary.
        shadow: is asked after an answer, and compared with it.
    """

    production: Ranker | None = None
    canary_id: str | None = None
    canary: Ranker | None = None
    share: float = 0.0
    shadow: Ranker | None = None

    @property
    def recents(self) -> int:
        """The most interactions that a prompt shows."""
        rankers = (self.production, self.canary, self.shadow)
        return max((ranker.recents for ranker in rankers if ranker), default=RECENTS)

    def choose(self, user_id: str) -> Choice:
        """The version for a user: always the same one, and with a larger share, those of the smaller one as well."""
        if self.canary_id is None:
            return Choice(self.production, "production", 1.0)
        if place(user_id, self.canary_id) < self.share:
            return Choice(self.canary, "canary", self.share, self.canary_id)
        return Choice(self.production, "production", 1 - self.share)


def place(user_id: str, version: str) -> float:
    """The user's place in 0..1 for a version: another one for each version, independent of other hashes of users."""
    digest = blake2b(f"{version}\0{user_id}".encode(), digest_size=8, person=b"canary").digest()
    return int.from_bytes(digest) / _PLACES


class Rollout:
    """The current lineup. It is replaced as a whole, so that a request sees one and the same from beginning to end.

    Args:
        signals: what event types mean if there is no model.

    Attributes:
        known: the versions whose recommendation ids are told apart.
    """

    def __init__(self, production: Ranker | None, signals: Signals) -> None:
        self.lineup = Lineup(production)
        self.known: Collection[str] = {production.id} if production else frozenset()
        self._signals = signals

    @property
    def signals(self) -> Signals:
        """What event types mean to the version in production."""
        return self.lineup.production.signals if self.lineup.production else self._signals

    async def healthy(self) -> bool:
        """Whether production works."""
        return self.lineup.production is not None and await self.lineup.production.healthy()
