"""What an embedder is shown of an item with a picture. Its surroundings are doubles; each fault is one of theirs."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_store.views import ItemView
from service.pictures.encoders import EncoderUnavailable, PictureRefused
from service.pictures.tokens import Tokens
from service.state.records import Item, ItemClaim
from workers.backoff import Retry
from workers.embed import EmbedJob
from workers.job import JobUnavailable, ServerUnavailable, WorkFailed
from workers.soft_tokens import SoftTokens

ITEM = Item(item_id="i", title="t", picture="p", summary="what another model wrote")


class Double:
    """The surroundings of a job, with a fault of the encoder or none; `shown` is what the embedder got."""

    def __init__(self, fault: Exception | None = None, content: bytes | None = b"picture", *, tokens: bool) -> None:
        self.kind = SimpleNamespace(name="embed")
        self.id = "e@1"
        self.manifest = SimpleNamespace(id="e@1", encoder_id="e1", picture_tokens=object() if tokens else None)
        self.fault, self.content = fault, content
        self.shown: list[ItemView] = []
        self.stored: list[bytes] = []
        self.committed: dict[str, bytes] = {}

    async def encode(self, encoder: str, picture: bytes) -> bytes:
        if self.fault is not None:
            raise self.fault
        return b"tokens of " + picture

    async def read_many(self, version: Any, pictures: list[str]) -> Tokens:
        return Tokens({}, frozenset())

    async def write(self, version: Any, picture: str, blob: bytes) -> None:
        self.stored.append(blob)

    async def read(self, picture: str) -> bytes | None:
        return self.content

    async def current(self) -> list[Any]:
        return [self]

    async def embed(self, view: ItemView) -> Any:
        self.shown.append(view)
        return np.array([1.0, 0.0], dtype=np.float32)

    async def commit(self, claim: Any, vectors: dict[str, bytes]) -> bool:
        self.committed |= vectors
        return True

    def count_call(self, *what: object) -> None:
        """Metrics are not looked at."""

    async def work(self, item: Item = ITEM) -> ItemView:
        worker: Any = SimpleNamespace(retry=Retry(1, 1, 5), metrics=self, pictures=self)
        double: Any = self
        job = EmbedJob(worker, double, double, SoftTokens(double, double, double, double))
        await job.work(ItemClaim("i", 1, 0, item))
        assert self.committed == {"e@1": np.array([1, 0], dtype=np.float16).tobytes()}
        (view,) = self.shown
        return view


async def test_soft_tokens_are_made_once_and_shown() -> None:
    double = Double(tokens=True)
    view = await double.work()
    assert (view.picture_tokens, view.image, double.stored) == (b"tokens of picture", None, [b"tokens of picture"])


async def test_an_embedder_without_soft_tokens_sees_the_picture() -> None:
    view = await Double(tokens=False).work()
    assert (view.picture_tokens, view.image) == (None, b"picture")


async def test_a_vector_does_not_depend_on_what_other_models_wrote() -> None:
    assert (await Double(tokens=False).work()).summary == ""


@pytest.mark.parametrize("tokens", [True, False])
async def test_an_item_without_a_picture_is_embedded_from_its_words(tokens: bool) -> None:
    view = await Double(tokens=tokens).work(Item(item_id="i", title="t"))
    assert (view.title, view.picture_tokens, view.image) == ("t", None, None)


async def test_an_item_whose_picture_is_refused_is_embedded_from_its_words() -> None:
    view = await Double(PictureRefused("no picture"), tokens=True).work()
    assert (view.title, view.picture_tokens) == ("t", None)


@pytest.mark.parametrize(
    ("tokens", "fault", "content", "expected"),
    [
        (True, EncoderUnavailable("down"), b"picture", ServerUnavailable),
        (True, EncoderUnavailable("absent", asked=False), b"picture", JobUnavailable),
        (True, None, None, WorkFailed),
        (False, None, None, WorkFailed),
    ],
    ids=["down", "absent", "missing", "missing without an encoder"],
)
async def test_without_an_encoder_or_the_file_nothing_is_committed(
    tokens: bool, fault: Exception | None, content: bytes | None, expected: type[Exception]
) -> None:
    double = Double(fault, content, tokens=tokens)
    with pytest.raises(expected):
        await double.work()
    assert (double.committed, double.shown) == ({}, [])
