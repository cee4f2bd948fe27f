"""Puts accounts (`ac:{char_id}`) right that a refused document has written to.

The hand-off script writes the vitals of a document together with it. Where Redis had
forgotten the session, it accepts another document than PostgreSQL holds, and the drain
is the first to see it. Accounts then get what PostgreSQL knows of their players.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from uuid import UUID

from combat_history.models import Character, CombatHistory, Status
from persistence.contract import redis_keys
from persistence.contract.document import parse_document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.payload import CombatResultPayload, validate
from persistence.worker import inbox

logger = logging.getLogger(__name__)


def disown(raw: bytes) -> int:
    """Put its players' accounts right; how many were wrong. Repeating is harmless.

    What a player did since stands. Vitals that were newer than PostgreSQL's before the
    document came are known to nobody any more.
    """
    try:
        refused = validate(parse_document(raw))
    except PayloadInvalid:
        return 0  # the script was given no vitals
    players = list(refused.players())
    if not players:
        return 0
    changed: int = inbox.script("disown")(
        keys=[redis_keys.account(char_id) for char_id in players],
        args=[
            str(refused.session_id),
            refused.meta.end_timestamp,
            *_said_and_known(refused),
        ],
    )
    if changed:
        logger.warning(
            "accounts told what was refused",
            extra={"session_id": refused.session_id, "accounts": changed},
        )
    return changed


def _said_and_known(refused: CombatResultPayload) -> Iterator[str | int]:
    players = refused.players()
    characters = Character.objects.in_bulk(players)
    fighters, ended_at = _settled(refused.session_id)
    for char_id, part in players.items():
        said = part.state_snapshot
        yield from (said.hp, said.energy) if said else ("", "")
        character = characters.get(char_id)
        yield from _vitals(character) if character else ("", "", "")
        # Who fought by the refused document alone is left without a last fight.
        took_part = char_id in fighters
        yield from (str(refused.session_id), ended_at) if took_part else ("", "")


def _vitals(character: Character) -> tuple[int, int, int | str]:
    moment = character.vitals_at
    milliseconds = "" if moment is None else round(moment.timestamp() * 1000)
    return character.hp, character.energy, milliseconds


def _settled(session_id: UUID) -> tuple[list[int], int]:
    """The players of the combat that stands, and when it ended."""
    row = CombatHistory.objects.filter(
        pk=session_id, settlement_status=Status.PROCESSED
    ).values_list("participant_ids", "finished_at")
    for participants, finished_at in row:
        return participants, int(finished_at.timestamp())
    return [], 0
