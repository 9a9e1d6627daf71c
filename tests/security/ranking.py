"""What an attack does to the rank of the attacker's own item."""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from model_store.engine.engine import Engine
from model_store.engine.errors import EngineRejected
from model_store.errors import UserError
from model_store.views import ItemView, UserView
from tests.security.cases import Case
from tests.security.corpus import OF_THE_ITEM, Attack
from tests.security.summaries import Answers

_AT_ONCE = 32
Asked = tuple[str, str, bytes | None]
Scored = list[float | None]


@dataclass(frozen=True)
class Lift:
    """One attack on one user: the item's place among the candidates, 1 being the first, and its p(yes).

    `after` is None where the server refuses the candidate, which is then ranked without the model; `asked` is all that
    the model was shown of user and item.
    """

    attack: Attack
    user: int
    before: float
    after: float | None
    p_before: float
    p_after: float | None
    asked: Hashable = None

    @property
    def places(self) -> float:
        """Places won; negative where the attack harms the attacker, 0 where the model is not asked."""
        return 0.0 if self.after is None else self.before - self.after

    @property
    def points(self) -> float:
        """Hundredths of p(yes) won."""
        return 0.0 if self.p_after is None else 100 * (self.p_after - self.p_before)


class Scores:
    """p(yes) of one server, each prompt asked once."""

    def __init__(self) -> None:
        self._known: dict[Asked, float | None] = {}

    async def of(self, engine: Engine, user: UserView, items: Sequence[ItemView]) -> Scored:
        """One score an item, in 0..1; None for one that the server refuses."""
        query = engine.prompts.rank_user(user)
        keys = [(query, engine.prompts.rank_item(item), item.image) for item in items]
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in self._known}
        unasked = list(missing)
        for start in range(0, len(unasked), _AT_ONCE):
            some = unasked[start : start + _AT_ONCE]
            try:
                answers = await engine.score(user, [missing[key] for key in some])
            except EngineRejected:
                answers = [None] * len(some)
            self._known |= dict(zip(some, answers, strict=True))
        return [self._known[key] for key in keys]


async def lifts(
    engine: Engine, scores: Scores, answers: Answers, cases: Sequence[Case], attacks: Sequence[Attack]
) -> list[Lift]:
    """Every attack on every user.

    Args:
        engine: a ranker, with the prompts under test.
        answers: descriptions of attacked pictures, where the model writes any.
    """
    found = list[Lift]()
    for number, case in enumerate(cases):
        # Before the attacks ask for it all at once.
        await scores.of(engine, case.user, [case.own, *case.rivals])
        found += await asyncio.gather(*(_lift(engine, scores, answers, number, case, attack) for attack in attacks))
    return found


async def _lift(engine: Engine, scores: Scores, answers: Answers, number: int, case: Case, attack: Attack) -> Lift:
    clear = await scores.of(engine, case.user, [case.own, *case.rivals])
    before, p_before = _place(clear), clear[0]
    if before is None or p_before is None:
        raise UserError(f"the server refuses {case.own.title!r}, which holds no attack")
    user = attack.on_user(case.user, case.own.title)
    item = await answers.described(attack, case.own) if attack.field in OF_THE_ITEM else case.own
    after = await scores.of(engine, user, [item, *case.rivals])
    asked = engine.prompts.rank_user(user), engine.prompts.rank_item(item), item.image
    return Lift(attack, number, before, _place(after), p_before, after[0], asked)


def _place(scores: Scored) -> float | None:
    """The place of the first among all: 1 at the top, between those that it ties with; None if it has no score."""
    own, *rivals = scores
    if own is None:
        return None
    known = [rival for rival in rivals if rival is not None]
    return 1 + sum(rival > own for rival in known) + sum(rival == own for rival in known) / 2
