"""The bodies the API answers with; the OpenAPI document is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from combat_history.reading.lookup import Credit, State
from combat_history.reading.outcomes import Outcome
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.events import Event
from persistence.contract.operate import Shortage
from persistence.contract.payload import MAX_PARTICIPANTS


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Texts(Body):
    """What the player may be shown, in the language asked for."""

    short: str = Field(description="At most 200 characters: a callback answer.")
    long: str = Field(description="At most 4096 characters: a message.")


class CombatResult(Body):
    session_id: UUID
    state: Literal[State.ACTIVE, State.FINISHED]
    credit: Credit | None = Field(description="What became of the rewards.")
    outcome: Outcome | None = Field(description="The player's own part of the result.")
    text: Texts


class CombatEntry(Body):
    session_id: UUID
    finished_at: datetime
    credit: Credit
    outcome: Outcome | None


class CombatPage(Body):
    items: list[CombatEntry]
    next: str | None = Field(description="The next page's address; null on the last.")


class EventPage(Body):
    items: list[Event]
    next: str | None = Field(
        description="The next page's address; null on the last: ask again later, after "
        "the id of its last item."
    )
    horizon: int = Field(
        description="No event up to here comes any more: where whoever wants to be "
        "told only what is to come begins."
    )


class BeltEntry(Body):
    inventory_id: int
    item_template_id: str
    slot: str
    quantity: int
    properties: dict[str, Any] | None = Field(
        None,
        description="What tells it from others of its kind; left out where nothing.",
        exclude_if=lambda properties: properties is None,
    )
    reserved_by: UUID | None = Field(
        None,
        description="The fight it is reserved for; left out where there is none.",
        exclude_if=lambda session_id: session_id is None,
    )


class Belt(Body):
    character_id: int
    items: list[BeltEntry]


def _whole(value: object) -> object:
    """10.0 is the integer 10, in JSON Schema and in every document."""
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value  # type: ignore[call-overload]


CharacterId = Annotated[
    int, Field(strict=True, ge=1, le=MAX_BIGINT), BeforeValidator(_whole)
]


class BeltRequest(Body):
    char_ids: list[CharacterId] = Field(
        description="The players of the fight.",
        min_length=1,
        max_length=MAX_PARTICIPANTS,
    )


class HeldItem(Body):
    inventory_id: int
    character_id: int
    reserved_by: UUID


class ReservedBelts(Body):
    session_id: UUID
    belts: dict[int, list[BeltEntry]] = Field(
        description="By character id, in the order of the slots."
    )
    held: list[HeldItem] = Field(
        description="On a belt, but reserved for another fight: not to be used."
    )
    unknown: list[int] = Field(description="Ids that no character has.")


class Accepted(Body):
    session_id: UUID
    duplicate: bool = Field(description="The same document was accepted before.")


class Fault(Body):
    path: str
    message: str


class ProblemDetails(Body):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault] | None = None
    shortages: list[Shortage] | None = None
    text: Texts | None = None
