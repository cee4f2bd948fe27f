"""A character's belt over HTTP, and belts reserved for a fight."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

import redis
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from pydantic import ValidationError

from combat_history.api.endpoint import json_response
from combat_history.api.problems import Problem, invalid_request, unavailable
from combat_history.api.schemas import (
    Belt,
    BeltEntry,
    BeltRequest,
    HeldItem,
    ReservedBelts,
)
from combat_history.callers import Caller
from combat_history.models import Character, InventoryItem
from persistence.belts import containers, reservations
from persistence.belts.belt import slot_number
from persistence.belts.containers import Stage
from persistence.worker.transactions import renew_connection

MAX_BODY_BYTES = 64 * 1024
"""A thousand ids of the greatest length take a third of it."""


def belt_of(char_id: int) -> Belt | None:
    """Equipped rows of the slots belt_1, belt_2, …; None for an unknown character."""
    rows = InventoryItem.objects.filter(
        character_id=char_id, is_equipped=True, slot__startswith="belt_"
    ).values_list(
        "id",
        "item_template_id",
        "slot",
        "quantity",
        "properties",
        "reserved_session_id",
    )
    numbered = [
        (
            number,
            BeltEntry(
                inventory_id=row[0],
                item_template_id=row[1],
                slot=row[2],
                quantity=row[3],
                properties=row[4],
                reserved_by=row[5],
            ),
        )
        for row in rows
        if (number := slot_number(row[2]))
    ]
    if not numbered and not Character.objects.filter(pk=char_id).exists():
        return None
    numbered.sort(key=lambda entry: (entry[0], entry[1].inventory_id))
    return Belt(character_id=char_id, items=[entry for _, entry in numbered])


async def reserve(
    request: HttpRequest, caller: Caller, session_id: UUID
) -> HttpResponse:
    """Reserve belts by `reservations.assemble`, of a live fight's own fighters."""
    try:
        wanted = BeltRequest.model_validate_json(request.read(MAX_BODY_BYTES + 1))
    except ValidationError as error:
        raise invalid_request(error, "nothing was reserved") from None
    try:
        assembly = await sync_to_async(_assemble)(
            session_id, wanted.char_ids, caller.name
        )
    except redis.RedisError:
        raise unavailable("Redis did not answer; ask again") from None
    if assembly.stage is Stage.OVER:
        raise _over(session_id)
    return json_response(_reserved(session_id, assembly))


def _assemble(
    session_id: UUID, char_ids: list[int], caller: str
) -> reservations.Assembly:
    fighters = containers.fighters(session_id)
    if fighters is None:
        raise _not_live(session_id)
    # Bounded by what `start_combat` was told: a token alone holds nobody's belt.
    strangers = sorted({*char_ids} - {*fighters})
    if strangers:
        raise Problem(
            HTTPStatus.CONFLICT,
            "no_fighter",
            f"character {strangers[0]} is not in combat {session_id}",
        )
    renew_connection()
    return reservations.assemble(session_id, char_ids, caller=caller)


def _not_live(session_id: UUID) -> Problem:
    if containers.stage(session_id) is Stage.OVER:
        return _over(session_id)
    return Problem(
        HTTPStatus.CONFLICT,
        "not_registered",
        f"combat {session_id} is not registered: no belt is reserved for it",
    )


def _over(session_id: UUID) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        "combat_over",
        f"combat {session_id} is over: no belt is reserved for it",
    )


def _reserved(session_id: UUID, assembly: reservations.Assembly) -> ReservedBelts:
    return ReservedBelts(
        session_id=session_id,
        belts={
            char_id: [
                BeltEntry(**item.model_dump(), reserved_by=session_id) for item in items
            ]
            for char_id, items in assembly.belts.items()
        },
        held=[
            HeldItem(
                inventory_id=item.inventory_id,
                character_id=item.character_id,
                reserved_by=item.session_id,
            )
            for item in assembly.held
        ],
        unknown=assembly.unknown,
    )
