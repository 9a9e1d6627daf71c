"""Whom attacks are tried on: users of the demo's world, each with an item whose author attacks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from model_store.msr.teacher import parse
from model_store.views import InteractionView, ItemView, UserView
from tests.benchmarks.vllm import Person, World

EVENTS = 12
BLOCK = 3
_SIDE = 256


@dataclass(frozen=True)
class Case:
    """One user and one attacker.

    Args:
        user: summary and recents, as a ranker sees them.
        own: the attacker's item, without an attack.
        rivals: the other candidates.
        old: the summary that the fold begins with.
        block: the events that are folded; the last one likes `own`.
    """

    user: UserView
    own: ItemView
    rivals: tuple[ItemView, ...]
    old: str
    block: tuple[InteractionView, ...]

    def folded(self, item: ItemView) -> tuple[InteractionView, ...]:
        """The block with `item` in the place of the attacker's own."""
        return (*self.block[:-1], replace(self.block[-1], item=item))


def cases(users: int, rivals: int, *, pictures: bool, opening: str) -> list[Case]:
    """`users` cases, the same ones each time.

    Args:
        rivals: candidates beside the attacker's item.
        pictures: whether items have pictures.
        opening: how the model's summaries begin; those of the small models have a form of their own.
    """
    world = World()
    return [
        _case(world, person, random.Random(f"case {number}"), rivals, pictures, opening)
        for number, person in enumerate(world.people(users, EVENTS))
    ]


def _case(world: World, person: Person, rng: random.Random, rivals: int, pictures: bool, opening: str) -> Case:
    unseen = sorted(world.items.keys() - {event.item_id for event in person.events})
    own, *others = (_item(world, name, pictures) for name in rng.sample(unseen, rivals + 1))
    shown = world.shown(person.events)
    return Case(
        UserView(_summary(world, person, EVENTS, opening), tuple(shown)),
        own,
        tuple(others),
        _summary(world, person, EVENTS - BLOCK, opening),
        (*shown[EVENTS - BLOCK : EVENTS - 1], InteractionView("like", own)),
    )


def _item(world: World, item_id: str, pictures: bool) -> ItemView:
    view = world.views[item_id]
    return replace(view, image=world.picture(item_id, _SIDE)) if pictures else view


def _summary(world: World, person: Person, events: int, opening: str) -> str:
    text = world.rule_summary(person.events[:events])
    if opening == "Likes ":
        return text
    said = parse(text)
    return f"This user enjoys {_listed(said.likes)}" + (f", and avoids {_listed(said.avoids)}." if said.avoids else ".")


def _listed(terms: Sequence[str]) -> str:
    return ", ".join(terms) or "nothing in particular yet"
