"""What a retrieval stage is. Every other module of this package but the collector and the retriever is one."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from typing import ClassVar

from service.recommend.schemas import SourceName
from service.state.reads import Wave


class Stage(ABC):
    """Names item ids, best first, one read at a time; made for one request.

    `ask` adds the next read to a wave of reads. Once the wave was sent, `take` puts the ids that it found into `ids`.
    The ids may be of no catalogue, seen or filtered out: the collector checks them.

    Args:
        places: the most ids of this stage that are looked at; None for as many as are needed.

    Attributes:
        name: the source of what the stage names, as `explain` shows it.
        needs_user: the stage can't be asked before the user has been read.
        last_resort: the stage is asked only while fewer items than the caller wants were found.
        ids: the ids that were named and not yet collected.
        done: the stage names no more.
    """

    name: ClassVar[SourceName]
    needs_user: ClassVar[bool] = True
    last_resort: ClassVar[bool] = False

    def __init__(self, places: int | None = None) -> None:
        self.ids: deque[str] = deque()
        self.done = False
        self.places = places

    def begin(self, near: Sequence[str], seen: Collection[str]) -> None:  # noqa: B027 - few stages need to know
        """The user has been read: `near` are the items that the user liked lately, `seen` are to be left out."""

    @abstractmethod
    def ask(self, wave: Wave) -> None:
        """Add the next read to `wave`; only while the stage is not done."""

    @abstractmethod
    def take(self) -> None:
        """Take over what the last read found. A read that failed finds nothing."""
