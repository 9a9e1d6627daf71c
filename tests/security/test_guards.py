"""What the guards let through when no model is asked, and what they would without each of them.

A new attack, or a change of a guard, changes a number here: see that it is the one you meant.
"""

from collections import Counter
from pathlib import Path

import pytest

from model_store.prompts import PromptSet
from service.state.records import Event, Item
from service.state.views import interaction_views
from tests.security.corpus import attacks
from tests.security.guards import ANSWER_GUARDS, PROMPT_GUARDS, Guard, without
from tests.security.structure import SETS, marked, stored
from tests.security.traces import prompts_of

MARKED_WITHOUT = {
    "HTML taken out": (2, 0),
    "invisible characters taken out": (8, 5),
    "chat markup taken out": (36, 17),
    "look-alikes of markup known": (5, 2),
    "texts on one line": (24, 10),
    "lengths capped": (3, 2),
    "< and > escaped": (5, 0),
    # Words to the model, of which only a model can show the worth.
    "data tagged and declared": (0, 0),
}
"""Attacks that leave more than words in the prompts `default` and `compact` when a guard is off."""
STORED_WITHOUT = {
    "summary: its opening": 5,
    "summary: no link": 11,
    "summary: no markup": 3,
    "summary: no instructions": 12,
    "summary: no loop": 4,
    "summary: look-alikes known": 3,
    "summary: no other scripts": 2,
}
"""Further summaries that are stored when a guard of answers is off."""
STORED = {
    "claim": 5,
    "delimiter": 4,
    "encoded": 3,
    "exfiltration": 1,
    "hidden": 3,
    "lookalike": 1,
    "stuffing": 2,
    "summarizer": 7,
    "template": 2,
}
"""Summaries that are stored with all guards on: each is one that an honest model could write of honest items."""
HARMLESS = {
    "default": {"format-description-xml-attr": {"tag"}, "format-item-summary-html": {"tag"}},
    "compact": {"format-item-summary-html": {"tag"}},
}
"""Tags that mean nothing to a model. A description with one is refused before an item has it."""


@pytest.mark.parametrize("name", SETS)
def test_attacks_leave_nothing_but_words_in_prompts(name: str) -> None:
    assert marked(name) == HARMLESS[name]


@pytest.mark.parametrize("guard", PROMPT_GUARDS, ids=lambda guard: guard.name)
def test_what_a_guard_of_prompts_holds_back(guard: Guard) -> None:
    found = tuple(
        sum(left != HARMLESS[name].get(attack) for attack, left in marked(name, [guard]).items()) for name in SETS
    )
    assert found == MARKED_WITHOUT[guard.name]


def test_summaries_of_a_model_that_obeys_are_stored_only_where_they_could_be_honest() -> None:
    assert Counter(attack.kind for attack in stored()) == STORED


@pytest.mark.parametrize("guard", ANSWER_GUARDS, ids=lambda guard: guard.name)
def test_what_a_guard_of_answers_holds_back(guard: Guard) -> None:
    assert len(stored([guard])) - sum(STORED.values()) == STORED_WITHOUT[guard.name]


def test_without_guards_every_summary_is_stored() -> None:
    wanted = [attack for attack in attacks() if attack.aim == "summary" and not attack.control]
    assert stored(ANSWER_GUARDS) == wanted


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("guard", [guard for guard in PROMPT_GUARDS if guard.replaced], ids=lambda guard: guard.name)
def test_a_guard_changes_no_byte_of_what_shops_write(guard: Guard, name: str, tmp_path: Path) -> None:
    """Prompts belong to a model version."""
    controls = [attack for attack in attacks() if attack.control]
    rendered = []
    for number, off in enumerate(([], [guard])):
        with without(off, PromptSet.built_in(name), tmp_path / str(number)) as prompts:
            rendered.append([prompts_of(prompts, control) for control in controls])
    assert rendered[0] == rendered[1]


def test_the_context_of_an_event_reaches_no_prompt() -> None:
    (attack,) = (attack for attack in attacks() if attack.field == "event_context")
    items = {"i": Item("i", "Red Harbour", genres=("drama",), picture=None)}
    prompts = PromptSet.built_in()
    told, silent = (
        prompts.summarize("", interaction_views([Event("e", "u", "i", "like", 0, context=context)], items))
        for context in ({"note": attack.text()}, None)
    )
    assert told == silent
