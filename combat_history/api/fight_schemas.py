"""The bodies of the calls that play: what they are asked and what they answer."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from combat_history.api.schemas import Body, CharacterId, HeldItem
from persistence.contract.ids import parse_session_id
from persistence.contract.meta import MAX_NAME
from persistence.contract.operations import OpId
from persistence.contract.payload import MAX_PARTICIPANTS
from persistence.contract.payload_schema import SESSION_ID
from persistence.engine.answers import Belts
from persistence.protocols import OWN_NAME, GameMode

RowId = CharacterId
"""As large as a character's id, and as whole."""


class Fighter(Body):
    char_id: CharacterId
    team: Annotated[str, Field(max_length=MAX_NAME, pattern=r"^[^\x00]*$")] | None = (
        None
    )


class Fighters(Body):
    players: list[Fighter] = Field(
        description="Of a player who stands twice in it the last counts.",
        min_length=1,
        max_length=MAX_PARTICIPANTS,
    )

    def teams(self) -> dict[int, str | None]:
        return {one.char_id: one.team for one in self.players}


class Use(Body):
    char_id: CharacterId
    inventory_id: RowId
    use_id: OpId = Field(description="The engine's own id of the use, such as a turn.")


class Leave(Body):
    char_id: CharacterId


class Context(Body):
    to: (
        Literal[GameMode.IDLE, GameMode.INVENTORY, GameMode.SCENARIO]
        | Annotated[str, Field(pattern=OWN_NAME, description="Of the game's own.")]
    )
    session_id: (
        Annotated[
            UUID,
            BeforeValidator(parse_session_id),
            WithJsonSchema({"type": "string", "pattern": SESSION_ID}),
        ]
        | None
    ) = None


class BeltPieces(Body):
    inventory_id: int
    item_template_id: str
    slot: str
    quantity: int = Field(description="Pieces that are left.")


class UsedPieces(Body):
    inventory_id: int
    item_template_id: str | None
    qty: int


class Actor(Body):
    team: str | None
    hp: int | None = Field(description="As the account said at the start.")
    energy: int | None
    belt_items: list[BeltPieces]
    consumed: list[UsedPieces]


class Standing(Body):
    session_id: UUID
    belts: Belts = Field(
        description="`late`: no worker has loaded all of them yet, the same call again "
        "waits for them; `held`: but for what other fights hold."
    )
    actors: dict[int, Actor] = Field(description="Those asked for, by character id.")
    held: list[HeldItem] = Field(
        description="On a belt, but reserved for another fight: not to be used."
    )


class Heard(Body):
    running: bool = Field(description="Whether such a fight goes on.")


class Left(Body):
    session_id: UUID
    char_id: int


class Used(Body):
    inventory_id: int
    quantity: int = Field(description="Pieces that are left on the belt.")


class Switched(Body):
    session_id: UUID | None = Field(description="Open now; null where none is.")
    changed: bool
    closed: dict[str, str] = Field(
        description="Sessions that were closed and are being saved, by mode."
    )


REQUESTS: tuple[type[BaseModel], ...] = (Context, Fighters, Leave, Use)
ANSWERS: tuple[type[BaseModel], ...] = (Heard, Left, Standing, Switched, Used)
