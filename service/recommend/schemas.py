"""Recommendations on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from service.http.ids import Id
from service.http.wire import null_is
from service.items.schemas import ItemText, Title
from service.recommend.limits import (
    LEAST_FACTOR,
    MOST_BOOSTS,
    MOST_CAPS,
    MOST_CHARS,
    MOST_EXCLUDED,
    MOST_FACTOR,
    MOST_PER_VALUE,
)

ServedBy = Literal["mllm", "cache", "collaborative", "popular", "none"]
Policy = Literal["production", "canary", "fallback"]
"""Why a version ranked. `fallback`: production, because the canary that is the user's could not."""
SourceName = Literal[
    "given", "cooccurrence", "item_models", "embedding", "popular", "popular_genre", "new", "by_term", "catalogue"
]
SkipReason = Literal["unknown_item", "duplicate", "seen", "excluded", "filtered", "max_per", "near_duplicate"]
WarningCode = Literal[
    "no_candidates",
    "fewer_than_k",
    "filter_matched_nothing",
    "filters_exhausted",
    "boost_unused",
    "max_per_short",
    "max_per_unused",
    "diversity_by_genres",
    "vectors_unavailable",
    "page_not_kept",
    "unknown_recents",
    "context_unused",
    "context_partly_unused",
]
MAX_DEADLINE_MS = 30_000
Number = Annotated[int, Field(strict=True, ge=1)]
Unit = Annotated[float, Field(strict=True, ge=0, le=1)]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat


def _wanted(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        # One message instead of one for each type of the union.
        detail = "must be a string, a number, true or false, or an array of at most 50 of them"
        raise PydanticCustomError("wanted", detail) from None


def _at_most_50(value: Any) -> Any:
    # Pydantic checks all values of an object before it counts them.
    if isinstance(value, dict) and len(value) > _MOST_WANTED:
        raise PydanticCustomError("too_long", "must have at most 50 entries", {"max_length": _MOST_WANTED})
    return value


_MOST_WANTED = 50
Wanted = Annotated[
    Scalar | Annotated[list[Scalar], Field(max_length=_MOST_WANTED, fail_fast=True)], WrapValidator(_wanted)
]
WantedAttributes = Annotated[dict[str, Wanted], Field(max_length=_MOST_WANTED)]
Wants = Annotated[list[str], Field(max_length=_MOST_WANTED, fail_fast=True)]
Expression = Annotated[StrictStr, Field(json_schema_extra={"maxLength": MOST_CHARS})]
"""The parser counts the characters, so that one that is too long is answered like any other wrong expression."""

RECOMMEND_EXAMPLE: dict[str, Any] = {
    "user_id": "u1",
    "candidates": ["i7", {"item_id": "new", "title": "Iron kettle"}],
    "k": 2,
}
FILTER_EXAMPLE = 'price < 20 and genres in ("kitchen", "tea") and not (brand = "Acme" or in_stock = false)'
_BOOST_EXAMPLE: dict[str, Any] = {"filter": 'tags has "sale"', "factor": 1.5}
BOOSTS_EXAMPLE = [_BOOST_EXAMPLE, {"filter": "in_stock = false", "factor": 0.2}]
MAX_PER_EXAMPLE = {"genres": 2, "attributes.brand": 1}
CONTEXT_EXAMPLE = {"device": "tv", "time": "evening"}
FILTERS_EXAMPLE: dict[str, Any] = {"genres": ["kitchen"], "attributes": {"in_stock": True}}


class CandidateIn(ItemText):
    """An item to rank. An id alone means the item of the catalogue; fields given here take precedence."""

    model_config = ConfigDict(extra="forbid", title="Candidate")

    item_id: Id
    title: Title | None = Field(None, description="Required for an item that the catalogue lacks.")


def _candidate(value: Any) -> Any:
    if isinstance(value, str):
        return {"item_id": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("candidate", "must be an item id, or an object with item_id")
    if unknown := value.keys() - CandidateIn.model_fields.keys():
        raise PydanticCustomError("unknown_field", "no such field", {"below": (min(unknown),)})
    if None in value.values():
        # A null field counts as not given: the value of the catalogue is used.
        return {name: one for name, one in value.items() if one is not None or name == "item_id"}
    return value


class Filters(BaseModel):
    """What an item must have: one of the genres, one of the tags, and each attribute (a value, or one of a list)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [FILTERS_EXAMPLE]})

    genres: Annotated[Wants, null_is(list, Wants)] = Field(default_factory=list)
    tags: Annotated[Wants, null_is(list, Wants)] = Field(default_factory=list)
    attributes: Annotated[WantedAttributes, BeforeValidator(_at_most_50), null_is(dict, WantedAttributes)] = Field(
        default_factory=dict
    )


class BoostIn(BaseModel):
    """Multiplies the odds of the items that match an expression."""

    model_config = ConfigDict(extra="forbid", title="Boost", json_schema_extra={"examples": [_BOOST_EXAMPLE]})

    filter: Expression = Field(description="An expression, as in the field `filter`.")
    factor: float = Field(
        strict=True, ge=LEAST_FACTOR, le=MOST_FACTOR, description="More than 1 raises an item, less than 1 lowers it."
    )


def _at_most_caps(value: Any) -> Any:
    # Pydantic checks all values of an object before it counts them.
    if isinstance(value, dict) and len(value) > MOST_CAPS:
        raise PydanticCustomError("too_long", "must have at most {max_length} entries", {"max_length": MOST_CAPS})
    return value


BoostList = Annotated[list[BoostIn], Field(max_length=MOST_BOOSTS, fail_fast=True)]
Caps = Annotated[
    dict[Annotated[str, Field(max_length=100)], Annotated[Number, Field(le=MOST_PER_VALUE)]],
    Field(max_length=MOST_CAPS),
]
ExcludedIds = Annotated[list[Id], Field(max_length=MOST_EXCLUDED, fail_fast=True)]


class RecommendIn(BaseModel):
    """The user, the candidates and the deadline of a recommendation."""

    model_config = ConfigDict(extra="forbid", title="Recommend", json_schema_extra={"examples": [RECOMMEND_EXAMPLE]})

    user_id: Id
    candidates: (
        Annotated[
            list[Annotated[CandidateIn, BeforeValidator(_candidate, json_schema_input_type=Id | CandidateIn)]],
            Field(fail_fast=True),
        ]
        | None
    ) = Field(None, description="Item ids or items; without them, candidates are retrieved.")
    k: Annotated[Number, null_is(lambda: 10, Number)] = Field(10, description="Maximum number of items.")
    exclude_seen: Annotated[StrictBool, null_is(lambda: True, StrictBool)] = True
    exclude_item_ids: Annotated[ExcludedIds, null_is(list, ExcludedIds)] = Field(
        default_factory=list, description="Items that must not be in the answer.", examples=[["i7", "i9"]]
    )
    filters: Filters | None = None
    filter: Expression | None = Field(
        None,
        description="An expression that an item must match: conditions on genres, tags and attributes, joined by "
        "`and`, `or`, `not` and parentheses. The operators are `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (...)`, `has` and "
        "`exists`. An item without an attribute matches no condition on it. If there are `filters` as well, an item "
        "must pass both.",
        examples=[FILTER_EXAMPLE],
    )
    boosts: Annotated[BoostList, null_is(list, BoostList)] = Field(
        default_factory=list,
        description="The odds of an item's score are multiplied by the factors of all that match.",
        examples=[BOOSTS_EXAMPLE],
    )
    max_per: Annotated[Caps, BeforeValidator(_at_most_caps), null_is(dict, Caps)] = Field(
        default_factory=dict,
        description="For `genres`, `tags` or attributes, the maximum number of items with the same value. Items beyond "
        "it are passed over.",
        examples=[MAX_PER_EXAMPLE],
    )
    diversity: Annotated[Unit, null_is(float, Unit)] = Field(
        0.0,
        description="How much the items should differ: 0 orders by score alone, 1 by difference alone (maximal "
        "marginal relevance).",
        examples=[0.3],
    )
    rotation: Annotated[Unit, null_is(float, Unit)] = Field(
        0.0,
        description="How far items that were shown to the user lately give way: the odds of an item in the last answer "
        "are multiplied by 1 - rotation. Only answers to requests with a rotation are remembered.",
        examples=[0.5],
    )
    paged: Annotated[StrictBool, null_is(bool, StrictBool)] = Field(
        False, description="Remember the items of the answer for some minutes, so that `after` can continue it."
    )
    after: Id | None = Field(
        None,
        description="The `recommendation_id` of a paged answer for this user: the next page, which repeats no item of "
        "earlier ones, and can be continued in turn.",
        examples=["066064708c8f1fff469bd3aa007d148e32bbf2f81d4e"],
    )
    deadline_ms: Annotated[int, Field(strict=True, ge=1, le=MAX_DEADLINE_MS)] | None = Field(
        None, description="The time for the whole request in milliseconds."
    )
    context: dict[str, Any] | None = Field(
        None,
        description="The situation, such as `device` or `time_of_day`. If the prompts of the model version show a "
        "context, the ranker is shown up to 8 of its texts, numbers and booleans; otherwise `warnings` say so.",
        examples=[CONTEXT_EXAMPLE],
    )
    explain: Annotated[StrictBool, null_is(bool, StrictBool)] = Field(
        False, description="Return the components of each score and the source of each item."
    )


@dataclass(frozen=True, slots=True)
class RankedItem:
    item_id: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Components:
    """The features of the score.

    p(yes) of the model, null if it has no score; summed cosine co-occurrence; number of users who liked the item;
    summed item weights of the recents, and the score of the item vectors, both of either sign, 0 for a model without
    them. The odds of the blend of these features are multiplied by `boost` and `rotation`, which are 1 without such an
    option. `unmet` was added to the log-odds of an item that few users met; 0 for others.
    """

    mllm: float | None
    collaborative: float
    popular: float
    item_weights: float
    item_vectors: float
    boost: float
    rotation: float
    unmet: float


@dataclass(frozen=True, slots=True)
class ExplainedItem(RankedItem):
    """An item with its explanation. `source` is `given` for a candidate of the caller, else the retrieval stage."""

    components: Components
    source: SourceName


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that was not ranked, and why."""

    item_id: str
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning: a stable `code`, a sentence and, for codes with several reasons, a stable `reason`."""

    code: WarningCode
    detail: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The ranked items, best first. `degraded`: the model was not available in time; `degraded_reason` says why.

    `model` is the version that ranked. `policy` is `canary` for the users of a canary, and `fallback` if `model` ranked
    because their canary could not. `served_by` is `none` if nothing was ranked. `timing_ms` has the milliseconds of
    each step and the `total`.
    """

    recommendation_id: str
    user_id: str
    items: list[ExplainedItem | RankedItem]
    served_by: ServedBy
    degraded: bool
    degraded_reason: str | None
    model: str | None
    policy: Policy
    summary_version: int
    pending_events: int
    skipped: list[Skipped]
    warnings: list[Warned]
    timing_ms: Mapping[str, float]
