"""What a game says of its characters and its catalogue, over HTTP and in files.

Closed: an unknown key is refused. All of it may be said again at any time, and changes
nothing then.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from persistence.contract.changes import (
    MAX_BALANCES,
    MAX_BIGINT,
    MAX_ENTRIES,
    BalanceId,
    Quantity,
    TemplateId,
)
from persistence.contract.errors import FailureCode
from persistence.contract.said import Said


class Refusal(StrEnum):
    """Why character or catalogue stay as they are: a conflict with what is there."""

    EXTERNAL_ID_TAKEN = "external_id_taken"
    """It is another character's."""
    NAME_TAKEN = "name_taken"
    """Another kind of item has it."""
    IN_USE = "in_use"
    """Somebody owns such an item: it stacks, or does not, as before."""
    UNKNOWN_ITEM = FailureCode.UNKNOWN_ITEM
    UNKNOWN_BALANCE = FailureCode.UNKNOWN_BALANCE


MAX_SHOWN = 200
"""Characters of a name, as their columns."""

MAX_LOCATION = 100
MAX_EXTERNAL_IDS = 20

ITEM_ID = r"^[^\x00]{1,64}$"

NAME = r"^[^\x00]*[^\x00\s][^\x00]*$"
"""Something that can be seen."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_SHOWN, pattern=NAME)]
OtherName = Annotated[str, Field(max_length=MAX_SHOWN, pattern=r"^[^\x00]*$")]
ExternalKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ExternalId = Annotated[str, Field(min_length=1, max_length=128, pattern=NAME)]
Amount = Annotated[int, Field(ge=0, le=MAX_BIGINT)]


class OpeningItem(Said):
    """Pieces in the bag: one stack, or a row for each where the kind does not stack."""

    item_template_id: TemplateId
    qty: Quantity


class Opening(Said):
    """What a character comes with. Said once: of one that is there it counts no more,
    for all that moves from then on is in the ledger."""

    xp: Amount = 0
    gold: Amount = 0
    hp: Amount = 100
    energy: Amount = 100
    location: Annotated[str, Field(max_length=MAX_LOCATION, pattern=r"^[^\x00]*$")] = ""
    balances: Annotated[
        dict[BalanceId, Annotated[int, Field(ge=-MAX_BIGINT, le=MAX_BIGINT)]],
        Field(
            max_length=MAX_BALANCES, json_schema_extra={"additionalProperties": False}
        ),
    ] = {}
    items: Annotated[list[OpeningItem], Field(max_length=MAX_ENTRIES)] = []


class Registration(Said):
    """A character. `external_ids`: what other systems call its player, such as
    {"telegram": "123456789"}; where they are left out those that are known stay."""

    name: Name
    external_ids: (
        Annotated[
            dict[ExternalKind, ExternalId],
            Field(
                max_length=MAX_EXTERNAL_IDS,
                json_schema_extra={"additionalProperties": False},
            ),
        ]
        | None
    ) = None
    opening: Opening = Opening()


class ItemKind(Said):
    """A kind of item. `stackable` changes only while nobody owns one."""

    name: Name
    name_en: OtherName = ""
    stackable: bool = True
    max_durability: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class BalanceKind(Said):
    """A kind of named balance. Whoever is beyond new bounds stays there."""

    name: Name
    name_en: OtherName = ""
    floor: Annotated[int, Field(ge=-MAX_BIGINT, le=0)] = 0
    maximum: Amount = MAX_BIGINT
