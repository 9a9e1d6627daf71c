"""How many tokens the built-in prompts have on a data set of yours: what deploy/sizing.py computes with.

Counted with the Tekken tokenizer (131,072 tokens) that comes with vLLM; tokenizers of other current models count within
a few per cent of it for English. Of a picture, only the model's own settings say how many tokens it has.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, quantiles
from typing import Annotated

import mistral_common
import typer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from model_store.data.dataset import read_dataset
from model_store.prompts import RECENTS, PromptSet
from model_store.views import InteractionView, ItemView, UserView
from tests.benchmarks.command import run
from tests.benchmarks.tables import console

TOKENIZER = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
BLOCK = 3
SUMMARY = (
    "This user enjoys slow, thoughtful science fiction and animated films with warm humour, and has lately turned to "
    "crime dramas set in rainy cities with a melancholy score. Strong female leads, ensemble casts and stories about "
    "families or friendship come up again and again, as do films from the nineties. The user avoids horror, loud war "
    "films and broad slapstick, and has lost interest in superheroes. Recent likes point to courtroom stories, heists "
    "and quiet endings."
)
"""As long as the built-in prompt allows: 80 words."""
DESCRIPTION = (
    "A hand-painted poster shows two figures under a street lamp in falling rain, their faces turned away; deep blues "
    "and a single warm light suggest a quiet, nostalgic mystery told with restraint and a touch of romance."
)
"""About as long as the built-in prompt allows: 40 words."""


def main(
    data: Annotated[Path, typer.Option(help="A dataset folder: items.jsonl, interactions.csv.")],
    users: Annotated[int, typer.Option(help="Users to draw.")] = 300,
) -> None:
    tokenizer = Tekkenizer.from_file(TOKENIZER)
    prompts, dataset, rng = PromptSet.built_in("default"), read_dataset(data), random.Random(7)
    drawn = rng.sample(sorted(dataset.histories), min(users, len(dataset.histories)))

    def view(item_id: str) -> ItemView | None:
        item = dataset.items.get(item_id)
        return item.view(DESCRIPTION) if item else None

    def count(texts: Iterable[str]) -> list[int]:
        return [len(tokenizer.encode(text, bos=False, eos=False)) for text in texts]

    events = {user: [InteractionView(one.type, view(one.item_id)) for one in dataset.histories[user]] for user in drawn}
    candidates = rng.sample(sorted(dataset.items), min(1000, len(dataset.items)))
    rows = {
        f"ranking, user part ({RECENTS} recents)": count(
            prompts.rank_user(UserView(SUMMARY, tuple(seen[-RECENTS:]))) for seen in events.values()
        ),
        "ranking, a candidate's text": count(
            prompts.rank_item(dataset.items[one].view(DESCRIPTION)) for one in candidates
        ),
        f"summary, a block of {BLOCK} events": count(
            prompts.summarize(SUMMARY, seen[-BLOCK:]) for seen in events.values()
        ),
        "summary, the answer": count([SUMMARY]),
    }
    console.print("| prompt | mean | 95th percentile |\n| --- | ---: | ---: |")
    for name, counts in rows.items():
        high = quantiles(counts, n=20)[-1] if len(counts) > 1 else counts[0]
        console.print(f"| {name} | {fmean(counts):.0f} | {high:.0f} |", highlight=False)


if __name__ == "__main__":
    run(main)
