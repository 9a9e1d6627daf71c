"""The verdict over a quiet service: nothing lost, nothing twice, in order, nothing left over. No I/O."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from tests.faults.client import Story

KEY = re.compile(r"ts:\{b\d+\}:(?P<kind>\w+)(:(?P<user>.*))?", re.DOTALL)
QUEUED = {"summarize_due": "due set", "p": "pending events", "summarize_lease": "lease", "y": "list of dead letters"}
TOMBSTONE = "x"


def complaints(story: Story, words: Sequence[str], buried: Collection[str] = (), *, ordered: bool = True) -> list[str]:
    """What is wrong with a user's summary.

    Args:
        words: the event ids in the summary, in their order.
        buried: those in the user's dead letters.
        ordered: false when retried dead letters came behind later events.
    """
    found = [f"{word} is there {count} times" for word, count in Counter([*words, *buried]).items() if count > 1]
    told = set(words) | set(buried)
    found += [f"{lost} was acknowledged and is lost" for lost in story.acknowledged if lost not in told]
    known = {*story.acknowledged, *story.unsure}
    found += [f"{word} was deleted and came back" for word in told & story.deleted]
    found += [f"{word} was never sent" for word in told - known - story.deleted]
    sure, folded = set(story.acknowledged), set(words)
    order = [word for word in words if word in sure]
    if ordered and order != [one for one in story.acknowledged if one in folded]:
        found.append(f"out of order: {' '.join(order)}")
    return found


def repeated(prompts: Iterable[Sequence[str]]) -> list[str]:
    """Prompts that hold an event twice: its fold had been committed before."""
    return [f"a prompt repeats an event: {' '.join(words)}" for words in prompts if len(set(words)) < len(words)]


def left_over(keys: Iterable[str]) -> list[str]:
    """Keys of work that nobody will do, when none is left to be done."""
    parts = ((key, KEY.fullmatch(key)) for key in keys)
    return [f"{QUEUED[part['kind']]} left: {key}" for key, part in parts if part and part["kind"] in QUEUED]


def of_user(keys: Iterable[str], user: str) -> list[str]:
    """The keys of `user`, without its tombstone."""
    parts = ((key, KEY.fullmatch(key)) for key in keys)
    return [key for key, part in parts if part and part["user"] == user and part["kind"] != TOMBSTONE]


def sizes_left(sizes: Mapping[str, int]) -> list[str]:
    """Counters and streams that are not back at nothing; `sizes` by key name."""
    return [f"{key} is {size}, not 0" for key, size in sizes.items() if size]
