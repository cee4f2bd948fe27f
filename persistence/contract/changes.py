"""The grammar of changes: what is given to a character, and taken from it.

Closed: an unknown key is refused, so that a misspelt reward is never dropped in
silence. Amounts are whole pieces, points or coins.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from persistence.contract.document import Document, canonical_json

MAX_BIGINT = 2**63 - 1
MAX_AMOUNT = 1_000_000_000
"""Bound of one combat's XP, gold, vitals: far above any reward, far below bigint."""

MAX_QUANTITY = 1_000_000
MAX_ENTRIES = 500
MAX_BALANCES = 100
"""Named balances that one fight moves of one character."""

MAX_PROPERTIES_BYTES = 2048
"""Of an item's properties, as JSON."""

BALANCE_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"

_WEAR_TARGET = r"^(item:[^\x00]{1,64}|inventory:[1-9][0-9]{0,18})$"


def _within_bigint(target: str) -> str:
    kind, _, number = target.partition(":")
    if kind == "inventory" and int(number) > MAX_BIGINT:
        raise PydanticCustomError(
            "wear_target",
            "{target} exceeds the largest inventory id",
            {"target": target},
        )
    return target


def _within_bytes(properties: Document) -> Document:
    if len(canonical_json(properties)) > MAX_PROPERTIES_BYTES:
        raise PydanticCustomError(
            "properties_too_large",
            "properties exceed {limit} bytes of JSON",
            {"limit": MAX_PROPERTIES_BYTES},
        )
    return properties


class _Closed(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


TemplateId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
BalanceId = Annotated[str, Field(pattern=BALANCE_ID)]
RowId = Annotated[int, Field(ge=1, le=MAX_BIGINT)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
WearTarget = Annotated[str, Field(pattern=_WEAR_TARGET), AfterValidator(_within_bigint)]


class ConsumedItem(_Closed):
    """Pieces used up from one inventory row; several entries of a row are summed."""

    inventory_id: RowId = Field(
        validation_alias=AliasChoices("inventory_id", "inv_id"),
    )
    item_template_id: TemplateId | None = None
    qty: Quantity


class GainedItem(_Closed):
    """Loot to grant, of a template that the engine knows.

    `properties` stay with the pieces, which join no others.
    """

    name: ClassVar[None] = None
    item_template_id: TemplateId
    qty: Quantity
    properties: Annotated[dict[str, Any], AfterValidator(_within_bytes)] | None = None


class Changes(_Closed):
    xp_gained: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] = 0
    gold_gained: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] = 0
    balances: Annotated[
        dict[BalanceId, Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]],
        Field(
            max_length=MAX_BALANCES, json_schema_extra={"additionalProperties": False}
        ),
    ] = {}
    items_consumed: Annotated[list[ConsumedItem], Field(max_length=MAX_ENTRIES)] = []
    durability_loss: Annotated[
        dict[WearTarget, Annotated[int, Field(ge=0, le=MAX_AMOUNT)]],
        Field(json_schema_extra={"additionalProperties": False}),
    ] = {}
    items_gained: Annotated[list[GainedItem], Field(max_length=MAX_ENTRIES)] | None = (
        None
    )
