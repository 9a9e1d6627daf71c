"""The interface of retrieval stages."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from typing import ClassVar

from service.recommend.schemas import SourceName
from service.state.reads import Wave


class Stage(ABC):
    """Names item ids for one request, best first.

    `ask` adds the next read to a wave of reads. After the wave was sent, `take` appends the ids it found to `ids`. The
    collector checks whether an id is unknown, seen or filtered out.

    Args:
        places: the maximum number of this stage's ids that are looked at; None for no limit.

    Attributes:
        name: the source of its items in an explained answer.
        needs_user: whether the user has to be read before the stage is asked.
        last_resort: whether the stage is asked only while fewer than `k` items were found.
        ids: named ids that were not collected yet.
        done: whether the stage is exhausted.
    """

    name: ClassVar[SourceName]
    needs_user: ClassVar[bool] = True
    last_resort: ClassVar[bool] = False

    def __init__(self, places: int | None = None) -> None:
        self.ids: deque[str] = deque()
        self.done = False
        self.places = places

    def begin(self, near: Sequence[str], seen: Collection[str]) -> None:  # noqa: B027 - few stages need to know
        """Receive the user: `near` holds recently liked items, `seen` those that must not be recommended."""

    @abstractmethod
    def ask(self, wave: Wave) -> None:
        """Add the next read to `wave`. Must not be called when the stage is done."""

    @abstractmethod
    def take(self) -> None:
        """Append what the last read found. A failed read finds nothing."""
