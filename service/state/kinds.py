"""The kinds of work that workers claim, each declared once.

A kind's `name` is in its Redis keys, its dead letters, and the metrics and logs of its job. Its Lua file under
lua/kinds defines what a claim returns, what a commit checks and writes, and what a dead letter holds.

To derive another result from items, such as an embedding, add a `Derived` to `DERIVED`; its job is `workers/<name>.py`.
When an item's words or picture change, its result is void and waits for a worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from service.settings import Settings
from service.state import encoding
from service.state.records import Claim, ItemClaim, PictureClaim, SummaryClaim
from service.state.redis.scripts import source_of

C = TypeVar("C", bound=Claim)
C_co = TypeVar("C_co", bound=Claim, covariant=True)


@dataclass(frozen=True)
class Kind(Generic[C_co]):
    """
    Args:
        owner: the work is in the buckets of users or of items.
        claim: creates a claim from its key, token and attempts, and from what the Lua file's `read` returns.
        file: the name of the Lua file.
    """

    name: str
    owner: Literal["user", "item"]
    claim: Callable[..., C_co]
    file: str

    @cached_property
    def prelude(self) -> str:
        """The source that precedes each script of this kind's queue."""
        return f"local KIND = '{self.name}'\n{source_of('kinds/_kind')}{source_of(f'kinds/{self.file}')}"


def _summary_claim(key: str, token: int, attempts: int, summary: bytes, pending: Any, recents: Any) -> SummaryClaim:
    return SummaryClaim(
        *(key, token, attempts),
        summary=encoding.summary(summary),
        pending=tuple(encoding.pending_event(key, entry) for entry in pending),
        recents=encoding.recents_events(key, recents),
        accepted_ms=tuple(encoding.accepted_ms(entry) for entry in pending),
    )


def _picture_claim(key: str, token: int, attempts: int, url: bytes) -> PictureClaim:
    return PictureClaim(key, token, attempts, url.decode())


def _item_claim(key: str, token: int, attempts: int, fields: list[bytes], *indexes: Sequence[bytes]) -> ItemClaim:
    item = encoding.item(key, dict(encoding.pairs(fields)))
    return ItemClaim(key, token, attempts, item, *(tuple(index.decode() for index in some) for some in indexes))


@dataclass(frozen=True)
class Derived(Kind[ItemClaim]):
    """
    Args:
        needs: the item's field from which the result is derived.
        result, model, token: the item's fields for the result, the model that produced it, and the commit's token.
    """

    owner: Literal["user", "item"] = "item"
    claim: Callable[..., ItemClaim] = _item_claim
    file: str = "derive"
    needs: str = "doc"
    result: str = ""
    model: str = ""
    token: str = ""


@dataclass(frozen=True)
class Embedded(Derived):
    """Vectors, which are written to indexes beside the item."""

    @cached_property
    def prelude(self) -> str:
        return f"{super().prelude}{source_of('kinds/embed')}"


SUMMARIZE = Kind("summarize", "user", _summary_claim, "summarize")
FETCH = Kind("fetch", "item", _picture_claim, "fetch")
DESCRIBE = Derived("describe", needs="pic", result="sum", model="by", token="sf")  # noqa: S106 - names of fields
ENCODE = Derived("encode", needs="pic", result="tk", model="tb", token="tf")  # noqa: S106 - names of fields
"""Only in a store whose settings name a picture encoder, see `derived_by`. The result is the encoders that made tokens
of the picture, the model those that tried, both separated by spaces."""
EMBED = Embedded("embed", needs="doc", result="ev", model="eb", token="ef")  # noqa: S106 - names of fields
"""Only in a store whose settings name an embedder. The result is the indexes that have a vector of the item's current
content, the model those whose embedder gave up, both separated by spaces."""
DERIVED = (DESCRIBE,)
KINDS = (SUMMARIZE, FETCH, *DERIVED, ENCODE, EMBED)


def derived_by(settings: Settings) -> tuple[Derived, ...]:
    """What is derived from items: of pictures nobody encodes, there would be no end of work."""
    encode = (ENCODE,) if settings.encodes_pictures else ()
    return (*DERIVED, *encode, *((EMBED,) if settings.embeds_items else ()))


def lua_table(derived: Sequence[Derived]) -> str:
    """The kinds as the scripts' constant DERIVED."""
    rows = (
        f"{kind.name} = {{ needs = '{kind.needs}', result = '{kind.result}', model = '{kind.model}', "
        f"token = '{kind.token}' }}"
        for kind in derived
    )
    return f"{{ {', '.join(rows)} }}"
