"""The `meta` of a result: when and how the fight ended.

No clock is asked: whether the end lies in the future is for the door that accepts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

MAX_NAME = 200
MAX_FUTURE_SECONDS = 5 * 60
"""Clocks of game servers differ by seconds; a result from tomorrow is a bug."""

MIN_END_TIMESTAMP = 978_307_200
"""2001-01-01. What is below, or above the other bound, is of another unit."""

MAX_END_TIMESTAMP = 10**11
"""The year 5138; as milliseconds, 1973."""


class FinishReason(StrEnum):
    VICTORY = "victory"
    DEFEAT = "defeat"
    FLEE = "flee"
    DRAW = "draw"
    ABANDONED = "abandoned"
    """Only forced saves of the sweep say it: the engine was not heard of any more."""


ENGINE_REASONS = [str(reason) for reason in FinishReason][:-1]
"""What an engine may send."""


_REASONS = {str(reason): reason for reason in FinishReason}


def _finish_reason(value: object) -> object:
    reason = _REASONS.get(value) if isinstance(value, str) else None
    if reason is None:
        raise _no_finish_reason()
    return reason


def _no_finish_reason() -> PydanticCustomError:
    return PydanticCustomError(
        "finish_reason",
        "expected one of {expected}",
        {"expected": ", ".join(ENGINE_REASONS)},
    )


def _unix_seconds(value: int) -> int:
    if MIN_END_TIMESTAMP <= value <= MAX_END_TIMESTAMP:
        return value
    raise PydanticCustomError(
        "end_timestamp",
        "end_timestamp is of the wrong unit: expected Unix seconds since 2001, "
        "not milliseconds",
    )


class CombatMeta(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    end_timestamp: Annotated[
        int,
        Field(
            ge=1,
            json_schema_extra={
                "minimum": MIN_END_TIMESTAMP,
                "maximum": MAX_END_TIMESTAMP,
            },
        ),
        AfterValidator(_unix_seconds),
    ]
    winner_team: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    finish_reason: Annotated[
        FinishReason,
        BeforeValidator(_finish_reason),
        WithJsonSchema({"type": "string", "enum": ENGINE_REASONS}),
    ]
    forced: SkipJsonSchema[bool] = False

    @model_validator(mode="after")
    def _forced_iff_abandoned(self) -> CombatMeta:
        is_abandoned = self.finish_reason is FinishReason.ABANDONED
        if is_abandoned and not self.forced:
            raise _no_finish_reason()
        if self.forced and not is_abandoned:
            raise PydanticCustomError(
                "forced", "only the sweep makes a save that is forced"
            )
        return self
