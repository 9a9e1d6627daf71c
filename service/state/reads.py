"""Reads of several parts of the store in one round trip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from service.state.redis.scripts import Asked, Scripts, answered

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What Redis is asked, and what its answers mean."""

    asked: Sequence[Asked]
    parse: Callable[[list[Any]], T]


class Answer(Generic[T]):
    """What a read of a wave came to, once the wave was sent."""

    def __init__(self, read: Read[T]) -> None:
        self.read = read
        self.results: list[Any] = []

    def value(self) -> T:
        """
        Raises:
            StateUnavailable: Redis refused a command of this read.
        """
        return self.read.parse(answered(self.results))


class Wave:
    """Reads that go to Redis together. One that fails leaves the others as they are."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._answers: list[Answer[Any]] = []

    def __bool__(self) -> bool:
        return any(answer.read.asked for answer in self._answers)

    def add(self, read: Read[T]) -> Answer[T]:
        answer = Answer(read)
        self._answers.append(answer)
        return answer

    async def send(self) -> None:
        """Ask for everything that was added, in one round trip.

        Raises:
            StateUnavailable: Redis does not answer at all.
        """
        results = iter(await self._scripts.ask([one for answer in self._answers for one in answer.read.asked]))
        for answer in self._answers:
            answer.results = list(islice(results, len(answer.read.asked)))


async def alone(scripts: Scripts, read: Read[T]) -> T:
    """The value of one read, in a round trip of its own.

    Raises:
        StateUnavailable: Redis did not answer it.
    """
    wave = Wave(scripts)
    answer = wave.add(read)
    await wave.send()
    return answer.value()
