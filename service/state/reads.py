"""Reads of several parts of the store in one round trip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from service.state.redis.scripts import Operation, Scripts, checked

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What to send to Redis, and how to parse its results."""

    operations: Sequence[Operation]
    parse: Callable[[list[Any]], T]


class Answer(Generic[T]):
    """The value of a read, once its wave was sent."""

    def __init__(self, read: Read[T]) -> None:
        self.read = read
        self.results: list[Any] = []

    def value(self) -> T:
        """Raises StateUnavailable if Redis refused an operation of this read."""
        return self.read.parse(checked(self.results))


class Wave:
    """Reads that are sent to Redis together. One that fails does not affect the others."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._answers: list[Answer[Any]] = []

    def __bool__(self) -> bool:
        return any(answer.read.operations for answer in self._answers)

    def add(self, read: Read[T]) -> Answer[T]:
        answer = Answer(read)
        self._answers.append(answer)
        return answer

    async def send(self) -> None:
        """Send everything that was added, in one round trip. Raises StateUnavailable if Redis does not answer."""
        operations = [one for answer in self._answers for one in answer.read.operations]
        results = iter(await self._scripts.attempt(operations))
        for answer in self._answers:
            answer.results = list(islice(results, len(answer.read.operations)))


async def alone(scripts: Scripts, read: Read[T]) -> T:
    """The value of one read, in its own round trip. Raises StateUnavailable if Redis does not answer."""
    return read.parse(await scripts.run(read.operations))
