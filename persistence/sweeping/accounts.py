"""Mends accounts that are left in a combat that is over, or half out of a session.

A pass looks at PAGES pages of keys and the next one goes on from there: at a hundred
thousand accounts the whole map is seen within minutes, and no sweep is long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from combat_history.models import CombatHistory, Status
from persistence.contract import redis_keys
from persistence.contract.ids import parse_session_id
from persistence.contract.players import player_id
from persistence.protocols import SyncScope
from persistence.worker import inbox, intents

PAGES = 20
PAGE_KEYS = 1000

ORPHAN_AFTER_SECONDS = 20
"""An engine that sets the field before it writes the session is not yet an orphan."""


@dataclass(frozen=True, slots=True)
class _Busy:
    """An account with something open that ought to have ended."""

    char_id: int
    combat: str
    closing: tuple[SyncScope, ...]


def note_closing() -> int:
    """Sessions that are closing have an intent, which the sweep then delivers."""
    noted = 0
    for account in _busy("closing"):
        for scope in account.closing:
            intents.note(scope, account.char_id)
            noted += 1
    return noted


def free_orphans() -> int:
    """Accounts whose combat is over leave it; where nothing knows it, in a while."""
    return sum(_free(account) for account in _busy("combat") if account.combat)


def _free(account: _Busy) -> int:
    try:
        session_id = parse_session_id(account.combat)
    except ValueError:
        # Of no fight that could be looked for: the engine's own business.
        return 0
    client = inbox.client()
    # A fight that Redis still knows is not over for its players.
    if (
        client.exists(redis_keys.session(session_id))
        or client.zscore(redis_keys.INBOX, str(session_id)) is not None
    ):
        return 0
    if _is_over(session_id) or _is_orphan_for_long(account, session_id):
        return _leave(account)
    return 0


def _is_over(session_id: UUID) -> bool:
    return (
        CombatHistory.objects.filter(pk=session_id)
        .exclude(settlement_status=Status.PENDING)
        .exists()
    )


def _is_orphan_for_long(account: _Busy, session_id: UUID) -> bool:
    """Neither Redis nor PostgreSQL has heard of that combat, and not only just now."""
    client = inbox.client()
    if client.exists(redis_keys.result(session_id)):
        return False
    if CombatHistory.objects.filter(pk=session_id).exists():
        return False
    member = f"{account.char_id}:{session_id}"
    now, _ = client.time()
    # NX: the first sweep that found nothing says since when.
    client.zadd(redis_keys.ORPHANS, {member: now}, nx=True)
    client.expire(redis_keys.ORPHANS, redis_keys.DAY_SECONDS)
    since = client.zscore(redis_keys.ORPHANS, member)
    if since is None or now - since < ORPHAN_AFTER_SECONDS:
        return False
    client.zrem(redis_keys.ORPHANS, member)
    return True


def _leave(account: _Busy) -> int:
    freed: int = inbox.script("free")(
        keys=[redis_keys.account(account.char_id)], args=[account.combat]
    )
    return freed


def _busy(case: str) -> Iterator[_Busy]:
    """The busy accounts of this pass's pages; the cursor is kept for the next pass."""
    client = inbox.client()
    cursor_key = redis_keys.SWEEP_CURSOR_PREFIX + case
    cursor = client.get(cursor_key) or b"0"
    for _ in range(PAGES):
        cursor, *found = inbox.script("account_scan")(
            args=[cursor, redis_keys.ACCOUNT_PREFIX, PAGE_KEYS]
        )
        yield from filter(None, map(_read, found))
        if cursor == b"0":
            break
    client.set(cursor_key, cursor, ex=redis_keys.DAY_SECONDS)


def _read(found: list[bytes]) -> _Busy | None:
    key, combat, inventory, scenario = (v.decode("utf-8", "replace") for v in found)
    char_id = player_id(key.removeprefix(redis_keys.ACCOUNT_PREFIX))
    if char_id is None:
        return None
    closing = ((SyncScope.INVENTORY, inventory), (SyncScope.SCENARIO, scenario))
    return _Busy(char_id, combat, tuple(s for s, named in closing if named))
