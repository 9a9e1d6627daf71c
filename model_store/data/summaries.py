"""User summaries beside a dataset, in `summaries.jsonl`: one line for each user and recurrent step (MLLM-MSR, stage 2).

| field     | holds                                                                                  |
| --------- | -------------------------------------------------------------------------------------- |
| `user_id` | the user                                                                               |
| `events`  | how many events of the user's history, oldest first and without exposures, are in it  |
| `summary` | the text after this step                                                               |

So the summary of a user at any moment is found, and none that has seen a later event.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from model_store.data import text_files, values
from model_store.data.dataset import DatasetError
from model_store.data.rows import json_object
from model_store.data.text_files import DataFileError

SUMMARIES = "summaries.jsonl"


class Step(NamedTuple):
    """The summary after the first `events` events of a history."""

    events: int
    summary: str


class UserSummaries:
    """The steps of each user."""

    def __init__(self, steps: Mapping[str, Iterable[Step]]) -> None:
        self._steps = {user: sorted(found, key=itemgetter(0)) for user, found in steps.items()}

    def __len__(self) -> int:
        """The number of users with a summary."""
        return len(self._steps)

    def at(self, user_id: str, cut: int) -> Step:
        """The newest summary that has seen only the first `cut` events of the user; an empty one if there is none."""
        steps = self._steps.get(user_id, [])
        place = bisect_right(steps, cut, key=itemgetter(0))
        return steps[place - 1] if place else Step(0, "")


def read_summaries(path: Path) -> UserSummaries:
    """Read a file of summaries, plain or gzip.

    Raises:
        DatasetError: it is missing, or a line is malformed; the message names the line.
    """
    path = text_files.find(path)
    if not path.is_file():
        raise DatasetError(f"{path} is missing: write it with tastestream data summarize {path.parent}")
    steps: dict[str, list[Step]] = defaultdict(list)
    for user_id, step in _rows(path):
        steps[user_id].append(step)
    return UserSummaries(steps)


def _rows(path: Path) -> Iterator[tuple[str, Step]]:
    try:
        for number, line in text_files.lines(path):
            try:
                fields = json_object(line)
                events = int(fields["events"])
                yield values.identity(fields["user_id"]), Step(events, values.text(fields["summary"]))
            except (KeyError, TypeError, ValueError) as error:
                raise DatasetError(f"{path}, line {number}: not a summary of a user: {error!r}") from None
    except DataFileError as error:
        raise DatasetError(str(error)) from None
