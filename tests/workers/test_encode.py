"""An encoder that fails for one version of the ranker costs the others nothing.

Encoders, tokens and the queue are doubles: the faults are those of one encoder among several.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from service.pictures.encoders import EncoderUnavailable, PictureRefused
from service.pictures.tokens import Tokens
from service.state.records import Item
from workers.backoff import Retry
from workers.encode import EncodeJob
from workers.job import JobUnavailable, ServerUnavailable, WorkFailed
from workers.soft_tokens import SoftTokens

DOWN = EncoderUnavailable("http://127.0.0.1:1 did not answer")
ABSENT = EncoderUnavailable("no server has it", asked=False)
REFUSED = PictureRefused("no picture")


class Double:
    """The surroundings of a job; `faults` by encoder."""

    def __init__(self, faults: dict[str, Exception]) -> None:
        self.kind = SimpleNamespace(name="encode")
        self.faults = faults
        self.stored: list[str] = []
        self.committed: list[str] = []

    async def encode(self, encoder: str, picture: bytes) -> bytes:
        if encoder in self.faults:
            raise self.faults[encoder]
        return picture

    async def read_many(self, version: Any, pictures: list[str]) -> Tokens:
        return Tokens({}, frozenset())

    async def write(self, version: Any, picture: str, blob: bytes) -> None:
        self.stored.append(version.encoder_id)

    async def read(self, picture: str) -> bytes:
        return b"picture"

    async def current(self) -> list[Any]:
        return [SimpleNamespace(id=f"text@{number}", encoder_id=f"e{number}") for number in (1, 2)]

    async def commit(self, claim: Any, text: str, digest: str) -> bool:
        self.committed.append(text)
        return True

    def count_call(self, *what: object) -> None:
        """Metrics are not looked at."""

    async def work(self) -> None:
        worker: Any = SimpleNamespace(retry=Retry(1, 1, 5), metrics=self, pictures=self)
        double: Any = self
        job = EncodeJob(worker, double, SoftTokens(double, double, double, double), double)
        claim: Any = SimpleNamespace(item=Item(item_id="i", title="t", picture="p"))
        await job.work(claim)


@pytest.mark.parametrize("fault", [DOWN, ABSENT, REFUSED])
@pytest.mark.parametrize("failing", ["e1", "e2"])
async def test_what_was_made_is_committed(failing: str, fault: Exception) -> None:
    double = Double({failing: fault})
    await double.work()
    assert double.committed == double.stored == ["e2" if failing == "e1" else "e1"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (DOWN, ABSENT, ServerUnavailable),
        (ABSENT, DOWN, ServerUnavailable),
        (ABSENT, ABSENT, JobUnavailable),
        (REFUSED, REFUSED, WorkFailed),
    ],
)
async def test_nothing_made_is_a_failure(first: Exception, second: Exception, expected: type[Exception]) -> None:
    double = Double({"e1": first, "e2": second})
    with pytest.raises(expected):
        await double.work()
    assert double.committed == []
