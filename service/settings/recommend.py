"""Settings of recommendations."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from model_store.retrieval.shares import SHARES
from service.settings.declare import Count, Level, Seconds, setting


class RecommendSettings(Level):
    """How recommendations are computed."""

    deadline_ms: Count = setting(2000, "Deadline of a request that does not set one.")
    retrieve: Count = setting(50, "Candidates that are retrieved when the request has none.")
    new_items_share: Annotated[float, Field(ge=0, le=0.5)] = setting(
        SHARES.new, "Largest share of new items among retrieved candidates."
    )
    embedding_share: Annotated[float, Field(ge=0, le=0.9)] = setting(
        SHARES.embedding,
        "Share of items near to the user's recents by their vectors, among retrieved candidates. If the ranker's item "
        "models find something, it is of items that they don't know. With 0, vectors find nothing, and do not order "
        "new items either.",
    )
    genre_share: Annotated[float, Field(ge=0, le=0.5)] = setting(
        SHARES.genre,
        "Largest share of popular items of the user's genres among retrieved candidates. Where item models "
        "find enough, there are none.",
    )
    similar_pivot: Annotated[float, Field(ge=0, le=1e6)] = setting(
        20.0,
        "Users who like an item at which `/items/{id}/similar` follows their likes and the item's vector equally; for "
        "items with fewer, the vector counts more.",
    )
    duplicate_cosine: Annotated[float, Field(ge=0.5, le=1)] = setting(
        0.995, "Cosine of the vectors of two items from which they are nearly the same, and only one is shown."
    )
    page_ttl_s: Seconds = setting(600.0, "Time for which the next page of a recommendation can be asked for.")
    rotation_ttl_s: Seconds = setting(
        86400.0, "Time for which items that were shown give way to others, in requests with `rotation`."
    )
    new_items_s: Seconds = setting(14 * 86400.0, "Age up to which an item is new.")
    max_scanned_items: Count = setting(2000, "Items read for one request whose filters match few items.")
    min_concurrent_ranks: Count = setting(
        1, "Requests that may call the ranker at the same time, at least, however slow it becomes."
    )
    max_concurrent_ranks: Count = setting(
        64,
        "And at most. In between, each gateway process adapts the limit to the ranker's latency; more requests wait, "
        "as long as their deadlines allow.",
    )

    exploration_temperature: Annotated[float, Field(ge=0, le=10)] = setting(
        0.0, "Shuffles the items of an answer: the higher, the more; 0 keeps their order. Needed by `models ope`."
    )
    max_concurrent_shadows: Count = setting(2, "Answers that a gateway compares with a shadow at the same time.")
    max_waiting_shadows: Count = setting(64, "Answers that wait to be compared with a shadow; more are not compared.")

    @model_validator(mode="after")
    def _must_be_a_range(self) -> Self:
        if self.min_concurrent_ranks > self.max_concurrent_ranks:
            raise ValueError("MIN_CONCURRENT_RANKS must not be more than MAX_CONCURRENT_RANKS")
        return self

    @model_validator(mode="after")
    def _must_leave_room(self) -> Self:
        if self.new_items_share + self.embedding_share + self.genre_share > 1:
            raise ValueError("NEW_ITEMS_SHARE, EMBEDDING_SHARE and GENRE_SHARE must not be more than 1 together")
        return self
