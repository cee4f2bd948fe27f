"""The result payload: what the engine sends when a fight ends.

Unknown keys are kept in the stored document, except inside `changes`, where they are
refused: a misspelt reward must never be dropped in silence. Amounts are whole pieces,
points or coins; `end_timestamp` is Unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    PlainSerializer,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json

from persistence.contract.changes import (
    MAX_AMOUNT,
    MAX_BIGINT,
    MAX_ENTRIES,
    MAX_QUANTITY,
    Changes,
    ConsumedItem,
    GainedItem,
    Quantity,
    RowId,
    TemplateId,
)
from persistence.contract.document import (
    Document,
    parse_document,
    too_deep,
    write_document,
)
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.ids import parse_session_id
from persistence.contract.meta import MAX_NAME, CombatMeta
from persistence.contract.participants import gifts, reads_as_number

MAX_PARTICIPANTS = 1000

SCHEMA_VERSION: Literal[1] = 1
"""The version of this contract, and that of a document which names none."""

PLAYER_KEY = re.compile(r"[1-9][0-9]{0,18}")
_UNION_TAGS = frozenset({"player", "ai"})


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


Vital = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class LootEntry(_Strict):
    """Loot as shown to the player; resolved by template id, else by catalogue name."""

    properties: ClassVar[None] = None

    item_template_id: TemplateId | None = None
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    qty: Quantity = 1

    @model_validator(mode="after")
    def _names_an_item(self) -> LootEntry:
        if self.item_template_id is None and self.name is None:
            raise PydanticCustomError(
                "loot_unnamed", "loot needs item_template_id or name"
            )
        return self


Loot = LootEntry | GainedItem


class UiReport(_Strict):
    loot_obtained: Annotated[list[LootEntry], Field(max_length=MAX_ENTRIES)] = []


class StateSnapshot(_Strict):
    hp: Vital
    energy: Vital


class ParticipantResult(_Strict):
    """The result of the fight for one player."""

    is_winner: bool
    state_snapshot: StateSnapshot | None = None
    changes: Changes
    ui_report: UiReport = UiReport()
    team: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    name: Annotated[str, Field(max_length=MAX_NAME)] | None = None

    def loot(self) -> Sequence[Loot]:
        """Loot to grant: `items_gained`, or where that is absent the shown loot."""
        gained = self.changes.items_gained
        return self.ui_report.loot_obtained if gained is None else gained


class AiParticipant(BaseModel):
    """A monster or a shadow: any object, kept in the document, never applied."""

    model_config = ConfigDict(frozen=True, extra="allow")


def _split_participants(value: object) -> object:
    """Tell players from AI by their key, before either model sees the value."""
    if not isinstance(value, dict):
        return value
    return {key: _mark_ai(key, entry) for key, entry in value.items()}


def _mark_ai(key: object, entry: object) -> object:
    if not isinstance(key, str):
        return entry
    if PLAYER_KEY.fullmatch(key):
        if int(key) > MAX_BIGINT:
            raise PydanticCustomError(
                "participant_key",
                "participant {key} exceeds the largest character id",
                {"key": repr(key)},
            )
        return entry
    if reads_as_number(key):
        raise PydanticCustomError(
            "participant_key",
            "participant {key} is no canonical character id: write it in plain "
            "digits, without sign, point, space or leading zero",
            {"key": repr(key)},
        )
    # Of a payload that was built in Python.
    if isinstance(entry, AiParticipant):
        return entry
    if not isinstance(entry, dict):
        raise PydanticCustomError(
            "participant", "participant {key} must be an object", {"key": repr(key)}
        )
    return AiParticipant.model_validate(entry)


def _participant_tag(value: object) -> str:
    return "ai" if isinstance(value, AiParticipant) else "player"


Participant = Annotated[
    Annotated[ParticipantResult, Tag("player")]
    | Annotated[
        InstanceOf[AiParticipant], Tag("ai"), WithJsonSchema({"type": "object"})
    ],
    Discriminator(_participant_tag),
]


def _check_replay_log(value: object) -> object:
    if value is None or isinstance(value, list | str):
        return value
    raise PydanticCustomError(
        "replay_log", "replay_log must be a list or a base64 string"
    )


class CombatResultPayload(_Strict):
    """One finished fight, as the engine hands it over."""

    session_id: Annotated[
        UUID,
        BeforeValidator(parse_session_id),
        WithJsonSchema({"type": "string"}),
    ]
    schema_version: Literal[1] = SCHEMA_VERSION
    meta: CombatMeta
    participants: Annotated[
        dict[str, Participant],
        BeforeValidator(_split_participants),
        Field(min_length=1, max_length=MAX_PARTICIPANTS),
    ]
    # Not looked into: validating every turn would double the cost of a document.
    replay_log: Annotated[
        Any,
        BeforeValidator(_check_replay_log),
        WithJsonSchema(
            {"anyOf": [{"type": "array"}, {"type": "string"}, {"type": "null"}]}
        ),
    ] = None

    def players(self) -> dict[int, ParticipantResult]:
        """Player participants by character id, ascending."""
        return self._players

    @cached_property
    def _players(self) -> dict[int, ParticipantResult]:
        players = {
            int(key): entry
            for key, entry in self.participants.items()
            if isinstance(entry, ParticipantResult)
        }
        return dict(sorted(players.items()))

    @property
    def finished_at(self) -> datetime:
        return datetime.fromtimestamp(self.meta.end_timestamp, UTC)

    def document(self) -> Document:
        """The JSON document of a payload that was built in Python.

        Raises PayloadInvalid for what a field that nobody looks into may hold.
        """
        try:
            # As Python has it: what JSON makes of that is for one place to say.
            given = self.model_dump(exclude_unset=True, by_alias=False)
        except (ValueError, RecursionError) as error:
            raise too_deep() from error
        return parse_document(write_document(given))


class _Live(BaseModel):
    """Of a fight that goes on: the engine changes it, and its bounds stand."""

    model_config = ConfigDict(strict=True, extra="allow", validate_assignment=True)


class BeltItem(_Live):
    inventory_id: RowId
    item_template_id: TemplateId
    slot: str
    quantity: Annotated[int, Field(ge=0, le=MAX_QUANTITY)]
    properties: dict[str, Any] | None = None


def _as_appended(use: ConsumedItem | Document) -> Document:
    """Also of an entry that the engine has appended as a plain dict."""
    return use if isinstance(use, dict) else use.model_dump(exclude_none=True)


class CombatSessionContainerDTO(_Live):
    """One actor of a live session, as kept in `cs:{session_id}` `actor:{char_id}`.

    hp and energy are None where the account cache held none at the start.
    """

    team: str | None = None
    hp: Vital | None = None
    energy: Vital | None = None
    belt_items: list[BeltItem] = []
    consumed: list[Annotated[ConsumedItem, PlainSerializer(_as_appended)]] = []


@dataclass(frozen=True, slots=True)
class Read:
    """A document that keeps the contract, as its reader found it in its bytes."""

    document: Document
    payload: CombatResultPayload


def validate(document: Document) -> CombatResultPayload:
    """The document as a model. Raises PayloadInvalid with one entry per fault."""
    _refuse_other_versions(document)
    try:
        payload = CombatResultPayload.model_validate(document)
        _refuse_rewards_of_forced(payload)
        _refuse_gifts_to_ai(payload)
        return payload
    except ValidationError as error:
        fault = invalid(error)
    if any(not found["path"] for found in fault.errors):
        # A key that is no text stopped the model before it came to the session.
        session_id_of(document)
    raise fault


def _refuse_other_versions(document: Document) -> None:
    """Before anything else of it is judged: another contract has other rules."""
    version = document.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION or type(version) is not int:
        shown = repr(version)[:40]
        raise PayloadInvalid.single(
            FailureCode.UNKNOWN_VERSION,
            "schema_version",
            f"version {shown} is not known; this release reads {SCHEMA_VERSION}",
        )


def _refuse_rewards_of_forced(payload: CombatResultPayload) -> None:
    """A fight that nobody ended gives nothing: what was used up is all there is."""
    players = payload.players() if payload.meta.forced else {}
    rewarded = [
        {"path": f"participants.{key}.{path}", "message": "a forced save gives nothing"}
        for key, player in players.items()
        for path, reward in (
            ("changes.xp_gained", player.changes.xp_gained),
            ("changes.gold_gained", player.changes.gold_gained),
            ("changes.balances", any(player.changes.balances.values())),
            ("changes.items_gained", player.changes.items_gained),
            ("ui_report.loot_obtained", player.ui_report.loot_obtained),
        )
        if reward
    ]
    if rewarded:
        raise PayloadInvalid(str(FailureCode.INVALID_PAYLOAD), rewarded)


def _refuse_gifts_to_ai(payload: CombatResultPayload) -> None:
    """Nothing given is dropped in silence: it was meant for a player."""
    given = [
        {
            "path": f"participants.{key}.{path}",
            "message": "is given to nobody: this participant is no player",
        }
        for key, entry in payload.participants.items()
        if isinstance(entry, AiParticipant)
        for path in gifts(entry.model_extra or {})
    ]
    if given:
        raise PayloadInvalid(str(FailureCode.INVALID_PAYLOAD), given)


def session_id_of(document: Document) -> UUID:
    """The session a document names. Raises PayloadInvalid `bad_session_id`."""
    try:
        return parse_session_id(document.get("session_id"))
    except ValueError as error:
        raise PayloadInvalid.single(
            FailureCode.BAD_SESSION_ID, "session_id", str(error)
        ) from None


def player_ids(document: Document) -> list[int]:
    """Player keys of a document that may be invalid otherwise, ascending."""
    participants = document.get("participants")
    if not isinstance(participants, dict):
        return []
    keys = (key for key in participants if PLAYER_KEY.fullmatch(key))
    return sorted(number for number in map(int, keys) if number <= MAX_BIGINT)


def begun_with(participants: bytes | None) -> list[int] | None:
    """The players of the text that a session lists its participants in, ascending.

    None where it cannot be read: it is the engine's own, and raises nothing.
    """
    try:
        listed = from_json(participants or b"")
        keys = set(map(str, listed)) if isinstance(listed, list) else None
    except ValueError:
        return None
    if keys is None:
        return None
    players = (int(key) for key in keys if PLAYER_KEY.fullmatch(key))
    return sorted(number for number in players if number <= MAX_BIGINT)


# Where all faults are numbers or lengths out of bounds, the code is `out_of_range`.
_RANGE_ERRORS = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "too_long",
        "int_parsing_size",
    }
)


def invalid(error: ValidationError) -> PayloadInvalid:
    """One entry per fault, under the code of what is at fault."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    only_range = all(fault["type"] in _RANGE_ERRORS for fault in faults)
    code = FailureCode.OUT_OF_RANGE if only_range else FailureCode.INVALID_PAYLOAD
    if any(fault["loc"][:1] == ("session_id",) for fault in faults):
        code = FailureCode.BAD_SESSION_ID
    return PayloadInvalid(
        str(code),
        [
            {
                "path": ".".join(str(p) for p in fault["loc"] if p not in _UNION_TAGS),
                "message": fault["msg"],
            }
            for fault in faults
        ],
    )
