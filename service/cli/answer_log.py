"""Logged answers, from the file that `recommendations export` writes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from model_store.errors import UserError, first_fault
from model_store.signals import Signal

Probability = Annotated[float, Field(gt=0, le=1)]


class LogError(UserError):
    """A file is no log of what was shown; the message names the line."""


class Row(BaseModel):
    """A line of the log: an item that was shown, as `recommendations export` writes it."""

    model_config = ConfigDict(frozen=True, strict=True)

    recommendation_id: str
    user_id: str
    model: str
    policy: str
    policy_propensity: Probability
    slot: int = Field(ge=1)
    item_id: str
    propensity: Probability
    features: dict[str, FiniteFloat | None]
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    """None in logs that are older than this field."""
    typical: dict[str, FiniteFloat] = Field(default_factory=dict)
    outcome: Signal | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A logged answer; its rows are in the order of the places. See `Shown` for the other fields."""

    user: str
    model: str
    policy: str
    propensity: float
    diversity: float | None
    typical: Mapping[str, float]
    rows: Sequence[Row]

    @property
    def explored(self) -> bool:
        """Whether its order was drawn. The last place never has a choice."""
        return any(row.propensity != 1 for row in self.rows[:-1])


def read_log(file: Path) -> list[Answer]:
    """The answers of an exported log.

    Raises:
        LogError: a line is malformed, or there is none.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                raise LogError(
                    f"{file}, line {number}: not a row of `recommendations export`: {first_fault(error)}"
                ) from None
            rows[row.recommendation_id].append(row)
    if not rows:
        raise LogError(f"{file} has no rows")
    return [_answer(sorted(group, key=attrgetter("slot"))) for group in rows.values()]


def explored(answers: Sequence[Answer]) -> list[Answer]:
    """The answers whose order was drawn: of the others, the scores explain the choices as well as the places do.

    Raises:
        LogError: there is none.
    """
    drawn = [answer for answer in answers if answer.explored]
    if not drawn:
        raise LogError(
            "the log has no exploration, so the order of the answers can't be told from the scores: "
            "set TASTESTREAM_RECOMMEND__EXPLORATION_TEMPERATURE=0.1 and log anew"
        )
    return drawn


def _answer(rows: Sequence[Row]) -> Answer:
    first = rows[0]
    shown = first.policy_propensity, first.diversity, first.typical
    return Answer(first.user_id, first.model, first.policy, *shown, rows)
