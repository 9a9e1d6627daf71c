"""Items that entered the catalogue recently, so that some are tried before anyone has liked them."""

from typing import ClassVar

from service.metrics import Metrics
from service.recommend.optional import optional
from service.recommend.retrieval.stage import Stage
from service.recommend.schemas import SourceName
from service.state.reads import Answer, Read, Wave


class Recent(Stage):
    """A sample of the newest items.

    Args:
        sample: reads more ids than there are places, because some may be rejected.
    """

    name: ClassVar[SourceName] = "new"
    needs_user: ClassVar[bool] = False

    def __init__(self, sample: Read[list[str]], places: int, metrics: Metrics) -> None:
        super().__init__(places)
        self._sample = sample
        self._metrics = metrics
        self._answer: Answer[list[str]] | None = None

    def ask(self, wave: Wave) -> None:
        self._answer = wave.add(self._sample)

    def take(self) -> None:
        if self._answer is not None:
            with optional("new", self._metrics):
                self.ids.extend(self._answer.value())
        self.done = True
