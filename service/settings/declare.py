"""How settings are declared: the base class of a level, its fields, and the types of their values."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

Seconds = Annotated[float, Field(ge=0.001, le=1e9)]
"""At least one millisecond, Redis's unit, and no more than Redis can add to its clock."""
SecondsOrZero = Annotated[float, Field(ge=0, le=1e9)]
Rate = Annotated[float, Field(ge=0.001, le=1e6)]
Count = Annotated[int, Field(gt=0)]
CountOrZero = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


def split_commas(names: Any) -> Any:
    """What is between the commas of a text; anything else as it is."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
"""Separated by commas in the environment."""
Ports = Annotated[tuple[Annotated[int, Field(gt=0, le=65535)], ...], NoDecode, BeforeValidator(split_commas)]


def setting(default: Any, description: str) -> Any:
    """A setting, with what the page of settings says about it."""
    return Field(default, description=description)


class Level(BaseModel):
    """Settings that belong together: a level of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)
