"""What each guard stops for certain, whatever the model: the marks in prompts, and the summaries of one that obeys."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from model_store.prompts import PromptSet
from tests.security.corpus import Attack, attacks
from tests.security.guards import ANSWER_GUARDS, OPENING, PROMPT_GUARDS, Guard, refusal, switched_off, without
from tests.security.traces import prompts_of, traces

SETS = ("default", "compact")
DEMANDED = "This user enjoys"
"""How a summary begins, as the prompts of `default` demand."""
COLUMNS_OF_PROMPTS = ("guards", *(f"prompts {name}" for name in SETS))
COLUMNS_OF_SUMMARIES = ("guards", "summaries that are stored")


def marked(name: str, off: Sequence[Guard] = ()) -> dict[str, set[str]]:
    """The attacks that leave more than words in the prompts of a built-in set, and what they leave."""
    with tempfile.TemporaryDirectory() as folder, without(off, PromptSet.built_in(name), Path(folder)) as prompts:
        found = {attack.name: traces(prompts, attack) for attack in attacks() if not attack.control}
    return {attack: left for attack, left in found.items() if left}


def stored(off: Sequence[Guard] = ()) -> list[Attack]:
    """The attacks on summaries that a model which obeys in everything would carry into the store."""
    prompts = PromptSet.built_in()
    on_summaries = [attack for attack in attacks() if attack.aim == "summary" and not attack.control]
    opening = "" if OPENING in off else DEMANDED
    with switched_off(off):
        return [
            attack
            for attack in on_summaries
            if not refusal(
                attack.wanted, prompts.limits.summary, prompt=prompts_of(prompts, attack)[1], opening=opening
            )
        ]


def rows_of_prompts() -> list[list[str]]:
    """How many attacks leave more than words in the built-in prompts."""
    return [[title, *(str(len(marked(name, off))) for name in SETS)] for title, off in _settings(PROMPT_GUARDS)]


def rows_of_summaries() -> list[list[str]]:
    """How many attacks on summaries a model that obeys would carry into the store."""
    return [[title, str(len(stored(off)))] for title, off in _settings(ANSWER_GUARDS)]


def _settings(guards: Sequence[Guard]) -> list[tuple[str, Sequence[Guard]]]:
    """All guards, all but one of them, none."""
    return [("all", ()), *((f"all but: {guard.name}", (guard,)) for guard in guards), ("none", guards)]
