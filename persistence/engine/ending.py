"""Makes the document of `finish_combat`: an outcome, and what `cs:` knows of the fight.

The outcome is a result payload without what is known: the session, the moment, who
fought in which team, with what vitals, and what was used up. Whatever it does say of
these counts, but for what was used up, which `use_item` has counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from persistence.contract import roster
from persistence.contract.document import (
    MAX_DOCUMENT_BYTES,
    Document,
    canonical_json,
    digest,
    parse_strictly,
    write_document,
)
from persistence.contract.errors import (
    CombatNotRegistered,
    FailureCode,
    PayloadInvalid,
)
from persistence.contract.ids import parse_session_id
from persistence.contract.payload import session_id_of
from persistence.contract.players import player_id
from persistence.contract.roster import Fault
from persistence.contract.signing import EngineKeys
from persistence.engine.handoff import Handoff, checked

Outcome = Document | str | bytes


@dataclass(frozen=True, slots=True)
class Fight:
    """What `lua/roster.lua` tells. `stands`: a document of this outcome is recorded;
    `raw` and `signature` are those of the document that is, "" once it is settled."""

    is_known: bool
    moment: int
    seen: str
    stands: bool
    raw: bytes
    signature: str
    session: roster.Session

    @classmethod
    def read(cls, reply: Sequence[Any]) -> Fight:
        state, moment, seen, stands, raw, signature, *fields = reply
        texts = [field.decode("utf-8", "replace") for field in fields]
        return cls(
            state != b"absent",
            int(moment),
            seen.decode(),
            bool(stands),
            raw,
            signature.decode(),
            dict(zip(texts[::2], texts[1::2], strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """An outcome of a combat. `mark`: what a document is known by that is made of it;
    with engine keys nobody else can write it."""

    session_id: UUID
    outcome: Document
    mark: str
    keys: EngineKeys
    max_bytes: int = MAX_DOCUMENT_BYTES

    @classmethod
    def of(
        cls,
        session_id: UUID | str,
        outcome: Outcome,
        keys: EngineKeys,
        max_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> Ending:
        """Raises PayloadInvalid for what is no JSON object, or is of another combat."""
        sid = parse_session_id(session_id)
        parsed = _parsed(outcome)
        if "session_id" in parsed and session_id_of(parsed) != sid:
            raise _invalid([_fault("session_id", f"is not {sid}")])
        text = canonical_json(parsed)
        mark = keys.sign_outcome(sid, text) or digest(text)
        return cls(sid, parsed, mark, keys, max_bytes)

    def handoff(self, fight: Fight) -> Handoff | None:
        """What is to be handed over; None where that is done, and settled by now.

        Raises PayloadInvalid or CombatNotRegistered: nothing is recorded.
        """
        if fight.stands and not fight.raw:
            return None
        # Nothing is signed here that was made elsewhere.
        if fight.stands and self.keys.verify(fight.raw, fight.signature):
            standing = checked(fight.raw, self.max_bytes).once_accepted()
            return standing.signed(fight.signature).made_of("", self.mark)
        if not fight.is_known:
            raise CombatNotRegistered(str(self.session_id))
        made = checked(self._document(fight), self.max_bytes)
        seen = "" if fight.stands else fight.seen
        return made.signed(self.keys.sign(made.raw)).made_of(seen, self.mark)

    def _document(self, fight: Fight) -> Document:
        known, faults = roster.participants(fight.session)
        meta = self.outcome.get("meta")
        given = self.outcome.get("participants", {})
        if isinstance(given, dict):
            if not fight.session:
                # Settled, and Redis has let go of it: the outcome is all there is.
                known = {name: _nothing() for name in given if player_id(name)}
            faults += _strangers(given, known)
            faults += _counted(given)
        if faults:
            raise _invalid(faults)
        document = {**self.outcome, "session_id": str(self.session_id)}
        if isinstance(meta, dict):
            document["meta"] = {"end_timestamp": fight.moment, **meta}
        if isinstance(given, dict):
            winner = meta.get("winner_team") if isinstance(meta, dict) else None
            # A team that was left does not make its former member win.
            left = {id_ for id_ in known if roster.has_left(fight.session, id_)}
            document["participants"] = given | {
                id_: _part(part, given.get(id_, {}), None if id_ in left else winner)
                for id_, part in known.items()
            }
        return document


def _nothing() -> Document:
    return {"is_winner": False, "changes": {}}


def _parsed(outcome: Outcome) -> Document:
    if isinstance(outcome, str):
        outcome = outcome.encode("utf-8", "surrogatepass")
    return parse_strictly(
        outcome if isinstance(outcome, bytes) else write_document(outcome)
    )


def _part(known: Document, given: object, winner_team: object) -> object:
    """A participant's part of the document; what is no part is left to the contract."""
    if not isinstance(given, dict):
        return given
    part = {**known, **given}
    is_winner = winner_team is not None and part.get("team") == winner_team
    part["is_winner"] = given.get("is_winner", is_winner)
    changes = given.get("changes", {})
    if isinstance(changes, dict):
        part["changes"] = {**changes, **known["changes"]}
    return part


def _strangers(given: Document, known: Document) -> list[Fault]:
    return [
        _fault(f"participants.{name}", "is not in this combat, and never was")
        for name in given
        if player_id(name) and name not in known
    ]


def _counted(given: Document) -> list[Fault]:
    return [
        _fault(
            f"participants.{name}.changes.items_consumed",
            "is what use_item has counted",
        )
        for name, part in given.items()
        if isinstance(part, dict)
        and isinstance(part.get("changes"), dict)
        and "items_consumed" in part["changes"]
    ]


def _fault(path: str, message: str) -> Fault:
    return {"path": path, "message": message}


def _invalid(faults: list[Fault]) -> PayloadInvalid:
    return PayloadInvalid(str(FailureCode.INVALID_PAYLOAD), faults)
