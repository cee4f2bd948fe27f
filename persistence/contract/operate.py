"""An operation of the game: a trade, a purchase, a quest, a letter, a craft.

`{op_id, reason, characters: {id: changes}}`, with changes as in the result of a fight,
of one character or of several. It is applied at once and as a whole, or refused as a
whole; under its `op_id` it is applied once, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from persistence.contract.changes import MAX_BIGINT, Changes
from persistence.contract.document import (
    Document,
    canonical_json,
    digest,
)
from persistence.contract.operations import OURS, OpId
from persistence.contract.payload import (
    MAX_PARTICIPANTS,
    PLAYER_KEY,
    Loot,
)
from persistence.contract.said import Said

MAX_REASON = 500


def _given_by_a_game(op_id: str) -> str:
    if op_id.startswith(OURS):
        raise PydanticCustomError(
            "op_id", "begins with {ours}, which is kept for people", {"ours": OURS}
        )
    return op_id


def _is_character(key: str) -> str:
    if PLAYER_KEY.fullmatch(key) and int(key) <= MAX_BIGINT:
        return key
    raise PydanticCustomError(
        "character_key", "a character id is written in plain digits"
    )


CharacterKey = Annotated[
    str,
    AfterValidator(_is_character),
    WithJsonSchema({"type": "string", "pattern": f"^{PLAYER_KEY.pattern}$"}),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one character: of no fight, so no snapshot, no shown loot."""

    changes: Changes
    state_snapshot: None = None

    def loot(self) -> list[Loot]:
        return [*(self.changes.items_gained or ())]


class Operation(Said):
    """What the game asks for. `reason` is for people: it stands in the admin."""

    op_id: Annotated[OpId, AfterValidator(_given_by_a_game)]
    reason: Annotated[
        str, Field(min_length=1, max_length=MAX_REASON, pattern=r"^[^\x00]+$")
    ]
    characters: Annotated[
        dict[CharacterKey, Changes],
        Field(
            min_length=1,
            max_length=MAX_PARTICIPANTS,
            json_schema_extra={"additionalProperties": False},
        ),
    ]

    @cached_property
    def text(self) -> bytes:
        """Canonical JSON: defaults that were not given, and aliases, are not in it."""
        given: Document = self.model_dump(mode="json", exclude_unset=True)
        return canonical_json(given)

    @cached_property
    def sha256(self) -> str:
        """Tells the same operation again from another one under its name."""
        return digest(self.text)

    def document(self) -> str:
        """JSON of what moves: `characters`, without name and reason."""
        return self.model_dump_json(include={"characters"}, exclude_unset=True)

    def asked(self) -> Mapping[int, Asked]:
        """By character id, ascending."""
        by_id = {int(key): Asked(changes) for key, changes in self.characters.items()}
        return dict(sorted(by_id.items()))


class CharacterAfter(BaseModel):
    """What a character has after the operation, and which of its rows were moved.

    `balances`: the named ones that were moved. `items`: the movements in the order in
    which they were made, each with the pieces that the row has `after` it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    xp: int
    gold: int
    balances: dict[str, int] = {}
    items: list[dict[str, Any]]


class OperationAnswer(BaseModel):
    """`id`: the operation's own, by which the ledger knows it.

    `duplicate`: it had been applied before; the balances are those of then.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    op_id: str
    id: UUID
    characters: dict[int, CharacterAfter]
    duplicate: bool = False


class Shortage(BaseModel):
    """Why an operation was refused: what it asks of a character who has not that much.

    `item_template_id` and `inventory_id`: as far as known; of gold there is neither,
    and of a named balance its id.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str
    character_id: int
    inventory_id: int | None = None
    item_template_id: str | None = None
    balance_id: str | None = None
    wanted: int
    there: int
