"""Settings of what event types mean."""

from typing import Self

from pydantic import Field, model_validator

from model_store.signals import ValueRule, Vocabulary
from service.settings.declare import Level, Names, setting


class SignalSettings(Level):
    """What event types mean. These settings override the model version and the built-in table.

    In the environment, separate types by commas.
    """

    positive: Names = setting((), "Types that mean that the user likes the item.")
    negative: Names = setting((), "Types that mean that the user dislikes the item.")
    neutral: Names = setting((), "Types that mean neither.")
    exposures: Names = setting((), "Types that only say that an item was shown; they are kept only in the event log.")
    values: dict[str, ValueRule] = Field(
        default_factory=dict,
        description="Types whose value decides: positive from `positive_from` up, negative from `negative_to` down, "
        "on a scale that ends at `of`.",
    )

    @model_validator(mode="after")
    def _must_be_a_vocabulary(self) -> Self:
        self.vocabulary()
        return self

    def vocabulary(self) -> Vocabulary:
        return Vocabulary(**dict(self))
