"""The calls about one combat, as scripts with their arguments; see `calls`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.ids import parse_session_id
from persistence.contract.operations import is_op_id
from persistence.contract.payload import MAX_PARTICIPANTS
from persistence.engine.calls import HAND_OFF, USE, Call, SessionId, player
from persistence.engine.handoff import Handoff

Teams = Mapping[int, str | None]


def hand_over(name: str, handoff: Handoff) -> Call:
    sid = handoff.args[0]
    return Call(
        name,
        f"combat {sid}",
        HAND_OFF,
        handoff.keys,
        handoff.args,
        waits=(redis_keys.INBOX, sid),
        identity=("handoff", sid),
        combat=sid,
        ends=True,
    )


def start(
    session_id: SessionId, char_ids: Iterable[int], teams: Teams | None
) -> tuple[Call, UUID, list[int]]:
    sid, ids = parse_session_id(session_id), _players(char_ids)
    keys = [
        *_live(sid),
        redis_keys.ACTIVE,
        redis_keys.INTENTS,
        redis_keys.INTENTS_SENT,
        *map(redis_keys.account, ids),
    ]
    args = [str(sid), json.dumps(ids), _belts(sid), *_by_team(ids, teams or {})]
    return _promise("start_combat", "start", sid, keys, args, ["start"]), sid, ids


def join(session_id: SessionId, teams: Teams) -> tuple[Call, UUID, list[int]]:
    sid, ids = parse_session_id(session_id), _players(teams)
    keys = [
        *_live(sid),
        redis_keys.INTENTS,
        redis_keys.INTENTS_SENT,
        redis_keys.belts_ready(sid),
        *map(redis_keys.account, ids),
    ]
    args = [str(sid), _belts(sid), *_by_team(ids, teams)]
    name = ["join", *map(str, ids)]
    return _promise("join", "join", sid, keys, args, name), sid, ids


def leave(session_id: SessionId, char_id: int) -> Call:
    sid = parse_session_id(session_id)
    keys = [
        *_live(sid),
        redis_keys.INTENTS,
        redis_keys.INTENTS_SENT,
        redis_keys.account(player(char_id)),
    ]
    args = [str(sid), _belts(sid), char_id]
    name = ["left", str(char_id)]
    return _promise("leave_combat", "leave_combat", sid, keys, args, name)


def use(session_id: SessionId, char_id: int, inventory_id: int, use_id: str) -> Call:
    sid = parse_session_id(session_id)
    if not is_op_id(use_id):
        raise ValueError(f"{use_id!r} is no id of a use: a text of 1 to 100 characters")
    args = [
        player(char_id),
        _row(inventory_id),
        redis_keys.use_field(char_id, use_id),
        "",
    ]
    name = ["use", str(char_id), use_id]
    return _promise("use_item", USE, sid, _live(sid), args, name)


def roster(session_id: UUID, outcome: str) -> Call:
    keys = _live(session_id)
    return _question("finish_combat", "roster", session_id, keys, [outcome])


def read_actors(session_id: UUID, char_ids: list[int]) -> Call:
    keys = [redis_keys.session(session_id), redis_keys.INTENTS]
    args = [_belts(session_id), *char_ids]
    return _question("start_combat", "actors", session_id, keys, args)


def heartbeat(session_id: SessionId) -> Call:
    sid = parse_session_id(session_id)
    keys = [redis_keys.session(sid), redis_keys.ACTIVE]
    return _question("heartbeat", "heartbeat", sid, keys, [str(sid)])


def _promise(
    name: str,
    script: str,
    session_id: UUID,
    keys: list[str],
    args: list[Any],
    identity: list[str],
) -> Call:
    sid = str(session_id)
    return Call(
        name,
        f"combat {sid}",
        script,
        keys,
        args,
        # Until the fight is over: what Redis has forgotten of it is told once more.
        waits=(redis_keys.ACTIVE, sid),
        identity=(*identity, sid),
        combat=sid,
    )


def _question(
    name: str, script: str, session_id: UUID, keys: list[str], args: list[Any]
) -> Call:
    sid = str(session_id)
    return Call(name, f"combat {sid}", script, keys, args, promises=False, combat=sid)


def _live(session_id: UUID) -> list[str]:
    return [redis_keys.session(session_id), redis_keys.result(session_id)]


def _belts(session_id: UUID) -> str:
    return redis_keys.intent(redis_keys.BELTS, session_id)


def _players(char_ids: Iterable[int]) -> list[int]:
    ids = sorted(set(map(player, char_ids)))
    if 1 <= len(ids) <= MAX_PARTICIPANTS:
        return ids
    raise ValueError(
        f"a combat is of at least one player and at most {MAX_PARTICIPANTS}, "
        f"not of {len(ids)}"
    )


def _by_team(ids: list[int], teams: Teams) -> list[Any]:
    return [value for id_ in ids for value in (id_, json.dumps(teams.get(id_)))]


def _row(inventory_id: object) -> int:
    try:
        return player(inventory_id)
    except ValueError:
        raise ValueError(f"{inventory_id!r} is no inventory id") from None
