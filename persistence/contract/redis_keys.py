"""Every Redis key of the contract, its type and its life. No other module spells one.

The Lua scripts receive these names through KEYS and ARGV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

INBOX = "combat:inbox"
"""Sorted set: session id -> due time (ms). Removed after commit and effects."""

DOORBELL = "combat:doorbell"
"""String, NX, DOORBELL_TTL_MS: at most one ring outstanding."""

LINGERER = "combat:lingerer"
"""String: who waits for the next hand-off; LINGERER_TTL_MS, renewed meanwhile."""

WAKE = "combat:wake"
"""List: when (ms) a hand-off woke the drain that waits; one element, five seconds."""

ACTIVE = "combat:active"
"""Sorted set: session id -> last heartbeat (ms). Removed at finish."""

EPOCH = "combat:epoch"
"""String, random, no TTL: another one than before means that Redis was emptied."""

ALIVE = "combat:alive"
"""Sorted set: worker@<host>:<pid> or beat@… -> when (ms) it was last heard of. An hour
after that it is forgotten."""

EVENTS = "combat:events"
"""Stream: <event id>-0 -> `event`, JSON of an `Event`; about SETTLEMENT_EVENTS_KEPT of
the newest."""

INTENTS = "dispatch:intents"
"""Sorted set: <scope>:<character id> -> when it was asked for (us). Removed once saved,
unless it was asked for again meanwhile; the sweep sends what is left."""

INTENTS_SENT = "dispatch:sent"
"""Sorted set: member of INTENTS -> from when on (us) another message may go out for it.
Removed with the intent; what an older worker leaves goes after a day."""

SWEPT = "sweep:began"
"""String: when (us) the last sweep began that has ended. What was noted before needs no
other one; DAY_SECONDS."""

SWEEP_AT = "sweep:at"
"""String: the case that a sweep is at, or ended at; the next one begins behind it.
Removed by a sweep that comes to its end; DAY_SECONDS."""

BELTS = "belts"
"""Scope of an intent whose subject is a combat: its belts are to be loaded."""

BELTS_ORPHANED = "combat:belts_orphaned"
"""Sorted set: session id -> since when (ms) nothing but a reserved belt knows of it.
Removed once the belt is released, or the session is known again."""

ORPHANS = "sweep:orphans"
"""Sorted set: <character id>:<session id> -> since when (s) no one knows the combat."""

SWEEP_CURSOR_PREFIX = "sweep:cursor:"
"""String: where the next sweep goes on looking through the accounts."""

SESSION_PREFIX = "cs:"
ACCOUNT_PREFIX = "ac:"
ACTOR_PREFIX = "actor:"
RESULT_PREFIX = "combat:result:"
TOMBSTONE_PREFIX = "combat:result_cache:"
UNKNOWN_PREFIX = "combat:result_unknown:"
UNKNOWN_ASKED_PREFIX = "api:unknown_asked:"

CONFLICT_FIELD_PREFIX = "conflict:"
"""Field of the result hash: SHA-256 of another document for the same session, and then
a colon and the signature that came with it."""

DAY_SECONDS = 24 * 60 * 60
FINISHED_SESSION_TTL_SECONDS = 300
"""A player may be waiting for the answer to a last blow: five minutes."""

REFUSED_SESSION_TTL_SECONDS = 10
"""The call that began it is told of the refusal, which waits no longer than that."""

DOORBELL_TTL_MS = 1000
"""A ring whose message was lost silences the others no longer than this."""

LINGERER_TTL_MS = 1000
"""A drain that died while it waited is taken for one that waits no longer than this."""

UNKNOWN_TTL_SECONDS = 5
"""A button of no fight is mashed for seconds. No longer: a result that PostgreSQL
accepted while Redis was away is not known here before the sweep has returned it."""

UNKNOWN_WINDOW_SECONDS = 60
"""How long an API caller's unknown ids count against its limit."""

BELTS_READY_TTL_SECONDS = 60
"""Whoever waits for the belts has given up long before."""

ENGINE_TTL_SECONDS = 600
"""A dispatcher that remembers anything renews it within seconds. Counted anew, it would
hand over in vain."""

MAX_CONFLICTS_HELD = 5
"""Conflicting documents kept per session until a drain has recorded them."""


def intent(scope: str, subject: int | str | UUID) -> str:
    """Member of INTENTS."""
    return f"{scope}:{subject}"


def inventory_delta(char_id: int) -> str:
    """List of JSON operations, oldest first; trimmed once applied."""
    return f"inventory:delta:{char_id}"


def scenario(session_id: UUID | str) -> str:
    """Hash: travel or quest progress with `version`; deleted once saved and closed."""
    return f"scenario:session:{session_id}"


def session_field(mode: str) -> str:
    """Field of an account: its open session of that mode."""
    return f"{mode}_session_id"


def closing_field(mode: str) -> str:
    """Field of an account: its sessions that are closed but not saved, by commas."""
    return f"{mode}_closing_session_id"


def actor_field(char_id: int) -> str:
    """Field of a live session: JSON `CombatSessionContainerDTO`."""
    return f"{ACTOR_PREFIX}{char_id}"


def free_field(char_id: int, template_id: str) -> str:
    """Field of a live session: pieces that no fight holds of a template on the belt.

    Counted when the belt is reserved, then kept by the operations that are queued.
    """
    return f"free:{char_id}:{template_id}"


def use_field(char_id: int, use_id: str) -> str:
    """Field of a live session: "<inventory id>:<pieces left>" of a use that counts."""
    return f"use:{char_id}:{use_id}"


def left_field(char_id: int) -> str:
    """Field of a live session: when (s) a player left it; gone if he comes back."""
    return f"left:{char_id}"


def belt_field(char_id: int) -> str:
    """Field of a live session, once a worker has looked for a player's belt.

    JSON: what other combats hold of it, [[inventory id, session id], ...]; null where
    there is no such character.
    """
    return f"belt:{char_id}"


def joining_field(char_id: int) -> str:
    """Field of a live session: the engine has not been told yet that he is in."""
    return f"joining:{char_id}"


def session(session_id: UUID) -> str:
    """Hash of the live combat session; 300 s after finish, deleted once settled."""
    return f"{SESSION_PREFIX}{session_id}"


def belts_ready(session_id: UUID) -> str:
    """List: one element each time the belts were loaded; BELTS_READY_TTL_SECONDS."""
    return f"combat:belts_ready:{session_id}"


def engine(name: str) -> str:
    """String: how many calls a dispatcher has been answered; ENGINE_TTL_SECONDS."""
    return f"combat:engine:{name}"


def taker(queue: str) -> str:
    """String, on the broker: who records what waits in the queue; 10 s at most."""
    return f"combat:taker:{queue}"


def account(char_id: int) -> str:
    """Hash (or RedisJSON) of the account cache; no TTL."""
    return f"{ACCOUNT_PREFIX}{char_id}"


def result(session_id: UUID) -> str:
    """Hash raw, sha256, signature, outcome, roster, claims, players, conflicts; then
    24 h. `outcome`: digest of what `finish_combat` made the document of; `roster`: with
    whom it was fought."""
    return f"{RESULT_PREFIX}{session_id}"


def conflict_field(sha256: str, signature: str) -> str:
    """Field of a result: the bytes of another document, or of the same, signed anew."""
    name = f"{CONFLICT_FIELD_PREFIX}{sha256}"
    return f"{name}:{signature}" if signature else name


def tombstone(session_id: UUID) -> str:
    """String: JSON of a settled combat, its summary or that it was undone; 24 h."""
    return f"{TOMBSTONE_PREFIX}{session_id}"


def unknown(session_id: UUID) -> str:
    """String: PostgreSQL had no such fight; 5 s, and any other key of it wins."""
    return f"{UNKNOWN_PREFIX}{session_id}"


def unknown_asked(caller: str, char_id: int) -> str:
    """Sorted set: session id -> when a caller first asked for a player (s); 60 s."""
    return f"{UNKNOWN_ASKED_PREFIX}{caller}:{char_id}"
