"""Every error this package lets out, and every code a failed combat can carry.

    PersistenceError
    |- PayloadInvalid        the document breaks the contract; nothing was recorded
    |- PayloadConflict       the session already has another document
    |- HandoffFailed         Redis did not answer OK: not accepted, send again
    |- DispatchFailed        Redis did not answer OK: nothing noted, call again
    |- CombatFinished        the session is over: nothing happens in it any more
    |- CombatNotRegistered   the session was never started, or Redis has forgotten it
    |- CombatRunning         the session runs without some of the players
    |- CharactersUnknown     PostgreSQL knows no such character: nobody has entered
    |- CombatInProgress      the player fights: nothing else may begin meanwhile
    |- NotInCombat           the player is not in this fight, or has left it
    |- ItemUnusable          the item was not used
    |  |- ItemNotOnBelt      the player's belt in this fight holds no such item
    |  |- ItemSpent          no piece of it is left
    |  `- UseIdReused        another item was used under this id
    |- ItemReserved          an item of the belt that the fight holds
    |- OperationInvalid      an inventory operation breaks its contract
    |- OperationRefused      an operation asks for what is not there; nothing applied
    |- OperationConflict     another operation was applied under this op_id
    |- OperationUnanswered   nobody knows whether it was applied: ask again
    `- SettlementError       inside the worker only
       |- DomainFailure      permanent: the combat becomes `failed` with this code
       `- ReceiptRaced       another worker recorded the session first: run again

Constructor arguments equal `args`, so that the types survive pickling by Celery.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """Why a combat is `failed`, or why a payload is in `rejected_payloads`."""

    INVALID_PAYLOAD = "invalid_payload"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CHARACTER = "unknown_character"
    UNKNOWN_ITEM = "unknown_item"
    UNKNOWN_BALANCE = "unknown_balance"
    UNKNOWN_VERSION = "unknown_version"
    SHORTAGE = "shortage"
    POISON = "poison"
    UNEXPECTED = "unexpected"
    BAD_SESSION_ID = "bad_session_id"
    NOT_AN_OBJECT = "not_an_object"
    TOO_LARGE = "too_large"
    PAYLOAD_CONFLICT = "payload_conflict"
    PAYLOAD_LOST = "payload_lost"
    RESULT_MISSING = "result_missing"
    STATE_MOVED = "state_moved"
    UNREADABLE_MESSAGE = "unreadable_message"
    BAD_SIGNATURE = "bad_signature"
    HELD_FOR_REVIEW = "held_for_review"


class DiscrepancyCode(StrEnum):
    """What was short: the kind of a discrepancy of a settlement or an undo."""

    ITEM_GONE = "item_gone"
    ITEM_NOT_OWNED = "item_not_owned"
    ITEM_MISMATCH = "item_mismatch"
    ITEM_SHORTAGE = "item_shortage"
    ITEM_RESERVED = "item_reserved"
    GOLD_SHORTAGE = "gold_shortage"
    BALANCE_SHORTAGE = "balance_shortage"
    NOT_EQUIPPED = "not_equipped"
    NO_DURABILITY = "no_durability"
    UNDO_ITEM = "undo_item_short"
    UNDO_GOLD = "undo_gold_short"
    UNDO_XP = "undo_xp_short"
    UNDO_BALANCE = "undo_balance_short"
    UNDO_WEAR = "undo_wear_short"


class ParkCode(StrEnum):
    """Why an operation or a snapshot is in `parked_operations`."""

    INVALID = "invalid_operation"
    OP_ID_REUSED = "op_id_reused"
    UNKNOWN_CHARACTER = "unknown_character"
    UNKNOWN_ITEM = "unknown_item"
    ITEM_GONE = "item_gone"
    ITEM_NOT_OWNED = "item_not_owned"
    ITEM_SHORTAGE = "item_shortage"
    ITEM_RESERVED = "item_reserved"
    NOT_ALLOWED = "not_allowed"
    SLOT_TAKEN = "slot_taken"
    OUT_OF_RANGE = "out_of_range"
    BLOCKED = "blocked"
    BAD_SIGNATURE = "bad_signature"
    CORRECTION = "correction"
    UNEXPECTED = "unexpected"


class PersistenceError(Exception):
    """Base of all errors of this package; `code` is stable."""

    code = "persistence_error"


class PayloadInvalid(PersistenceError):
    """The document breaks the contract. `errors` is a list of {path, message}."""

    code = str(FailureCode.INVALID_PAYLOAD)

    def __init__(self, code: str, errors: list[dict[str, str]]) -> None:
        super().__init__(code, errors)
        self.code = code
        self.errors = errors

    @classmethod
    def single(cls, code: str, path: str, message: str) -> PayloadInvalid:
        """With a single fault."""
        return cls(str(code), [{"path": path, "message": message}])

    def __str__(self) -> str:
        lines = "; ".join(
            f"{e['path'] or 'payload'}: {e['message']}" for e in self.errors
        )
        return f"[{self.code}] {lines}"


class _Session(PersistenceError):
    """Of a combat as a whole."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


class PayloadConflict(_Session):
    """The session was already handed over with another document, which stands."""

    code = str(FailureCode.PAYLOAD_CONFLICT)

    def __str__(self) -> str:
        return (
            f"[{self.code}] combat {self.session_id}: another document was accepted "
            "before; this one will not be applied (the first five are kept for review)"
        )


class HandoffFailed(PersistenceError):
    """Redis did not confirm: the result is still the engine's. Send it again."""

    code = "handoff_failed"

    def __init__(self, session_id: str, detail: str) -> None:
        super().__init__(session_id, detail)
        self.session_id = session_id
        self.detail = detail

    def __str__(self) -> str:
        return (
            f"[{self.code}] combat {self.session_id} was not accepted: {self.detail}; "
            "submit the same document again"
        )


class DispatchFailed(PersistenceError):
    """Redis did not confirm the call: make it again, which is harmless."""

    code = "dispatch_failed"

    def __init__(self, call: str, subject: str, detail: str) -> None:
        super().__init__(call, subject, detail)
        self.call = call
        self.subject = subject
        self.detail = detail

    def __str__(self) -> str:
        return f"[{self.code}] {self.call} of {self.subject}: {self.detail}; call again"


class CombatInProgress(PersistenceError):
    """A running combat cannot be switched away from, nor another one begun."""

    code = "combat_in_progress"

    def __init__(self, char_id: int, session_id: str) -> None:
        super().__init__(char_id, session_id)
        self.char_id = char_id
        self.session_id = session_id

    def __str__(self) -> str:
        return f"[{self.code}] character {self.char_id} fights in {self.session_id}"


class CombatFinished(_Session):
    """The session has ended, or its result is known: nothing happens in it any more."""

    code = "combat_finished"

    def __str__(self) -> str:
        return f"[{self.code}] combat {self.session_id} is over"


class CombatNotRegistered(_Session):
    """No such combat goes on: it was never started, or Redis has forgotten it."""

    code = "not_registered"

    def __str__(self) -> str:
        return f"[{self.code}] combat {self.session_id} is not registered"


class NotInCombat(PersistenceError):
    """The player is not in this combat, or has left it."""

    code = "no_fighter"

    def __init__(self, session_id: str, char_id: int) -> None:
        super().__init__(session_id, char_id)
        self.session_id = session_id
        self.char_id = char_id

    def __str__(self) -> str:
        return f"[{self.code}] character {self.char_id} is not in {self.session_id}"


class ItemUnusable(PersistenceError):
    """The item was not used; base of the reasons."""

    code = "item_unusable"

    def __init__(self, session_id: str, char_id: int, inventory_id: int) -> None:
        super().__init__(session_id, char_id, inventory_id)
        self.session_id = session_id
        self.char_id = char_id
        self.inventory_id = inventory_id

    def __str__(self) -> str:
        item = f"item {self.inventory_id} of character {self.char_id}"
        return f"[{self.code}] {item} in combat {self.session_id}"


class ItemNotOnBelt(ItemUnusable):
    """The belt that was loaded for this combat holds no such item."""

    code = "item_not_on_belt"


class ItemSpent(ItemUnusable):
    """No piece of it is left on the belt."""

    code = "item_spent"


class UseIdReused(ItemUnusable):
    """Another item was used under this id: a use is known by its id alone."""

    code = "use_id_reused"


class _Players(PersistenceError):
    """Of some players of a combat."""

    def __init__(self, session_id: str, char_ids: list[int]) -> None:
        super().__init__(session_id, char_ids)
        self.session_id = session_id
        self.char_ids = char_ids


class CombatRunning(_Players):
    """The session runs, and these players are not in it; nothing has changed."""

    code = "combat_running"

    def __str__(self) -> str:
        ids = ", ".join(map(str, self.char_ids))
        return f"[{self.code}] combat {self.session_id} runs without {ids}"


class CharactersUnknown(_Players):
    """PostgreSQL has no such characters: no combat begins with them, and one that had
    begun before a worker could tell fails when it is settled."""

    code = str(FailureCode.UNKNOWN_CHARACTER)

    def __str__(self) -> str:
        ids = ", ".join(map(str, self.char_ids))
        return f"[{self.code}] combat {self.session_id}: there is no character {ids}"


class ItemReserved(PersistenceError):
    """The belt is in a fight: its items are not traded or moved until it is over."""

    code = str(ParkCode.ITEM_RESERVED)

    def __init__(self, char_id: int, session_id: str, inventory_ids: list[int]) -> None:
        super().__init__(char_id, session_id, inventory_ids)
        self.char_id = char_id
        self.session_id = session_id
        self.inventory_ids = inventory_ids

    def __str__(self) -> str:
        where = f"on the belt of character {self.char_id} in combat {self.session_id}"
        return f"[{self.code}] items {', '.join(map(str, self.inventory_ids))} {where}"


class OperationInvalid(PersistenceError):
    """Nothing was queued. `errors` is a list of {path, message}."""

    code = str(ParkCode.INVALID)

    def __init__(self, char_id: int, errors: list[dict[str, str]]) -> None:
        super().__init__(char_id, errors)
        self.char_id = char_id
        self.errors = errors

    def __str__(self) -> str:
        lines = "; ".join(f"{e['path']}: {e['message']}" for e in self.errors)
        return f"[{self.code}] character {self.char_id}: {lines}"


class OperationRefused(PersistenceError):
    """Nothing of the operation was applied; its `op_id` is still free.

    `shortages`: {code, character_id, inventory_id, item_template_id, balance_id,
    wanted, there} for each thing that is not there, where that is why.
    """

    def __init__(
        self, op_id: str, code: str, detail: str, shortages: list[dict[str, Any]]
    ) -> None:
        super().__init__(op_id, code, detail, shortages)
        self.op_id = op_id
        self.code = code
        self.detail = detail
        self.shortages = shortages

    def __str__(self) -> str:
        return f"[{self.code}] operation {self.op_id}: {self.detail}"


class OperationConflict(PersistenceError):
    """Another operation was applied under this `op_id`; this one was not."""

    code = "operation_conflict"

    def __init__(self, op_id: str) -> None:
        super().__init__(op_id)
        self.op_id = op_id

    def __str__(self) -> str:
        return f"[{self.code}] another operation was applied as {self.op_id}"


class OperationUnanswered(PersistenceError):
    """It may have been applied or not: the same call again is harmless, and tells."""

    code = "operation_unanswered"

    def __init__(self, op_id: str, detail: str) -> None:
        super().__init__(op_id, detail)
        self.op_id = op_id
        self.detail = detail

    def __str__(self) -> str:
        return f"[{self.code}] operation {self.op_id}: {self.detail}; call again"


class SettlementError(PersistenceError):
    """Base of what ends one settlement attempt."""

    code = "settlement_error"


class DomainFailure(SettlementError):
    """This combat can never be applied as it stands; nothing of it was. `subject`: what
    failures of one cause are grouped by, an item, a character, the place of a fault."""

    def __init__(
        self, session_id: str, code: str, detail: str, subject: str = ""
    ) -> None:
        super().__init__(session_id, code, detail, subject)
        self.session_id = session_id
        self.code = code
        self.detail = detail
        self.subject = subject

    def __str__(self) -> str:
        return f"[{self.code}] combat {self.session_id}: {self.detail}"


class ReceiptRaced(SettlementError):
    """Another transaction recorded a session of this batch first; run it again."""

    code = "receipt_raced"

    def __init__(self, session_ids: list[str]) -> None:
        super().__init__(session_ids)
        self.session_ids = session_ids

    def __str__(self) -> str:
        return f"[{self.code}] recorded meanwhile: {', '.join(self.session_ids)}"
