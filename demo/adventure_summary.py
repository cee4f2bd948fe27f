"""The adventurers' part of the summary: the journal's word against what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from combat_history.models import (
    AppliedOperation,
    CombatHistory,
    LedgerLine,
    ParkedOperation,
    ScenarioSession,
)
from demo import census
from demo.bag import Shape
from demo.deeds import (
    Begin,
    Deed,
    Finish,
    Handle,
    Rest,
    Switch,
    Vanish,
)
from demo.fates import Fate, Fates, foretell
from demo.journal import Record
from demo.verdict import Summary

Key = TypeVar("Key")
Value = TypeVar("Value")


def compare_adventures(summary: Summary, record: Record) -> None:
    fates = foretell(record.adventurers, record.deeds.values())
    found = census.read_fates()
    _compare_answers(summary, record)
    _compare_fights(summary, fates)
    _compare_journeys(summary, fates)
    _compare_characters(summary, fates, found)
    _compare_operations(summary, fates, record)
    _compare_unheard(summary, record, fates, found)
    _compare_leftovers(summary)


def _compare_answers(summary: Summary, record: Record) -> None:
    """Every deed got the answer it had to get, by what was done."""
    want, have = Counter[str](), Counter[str]()
    for number, deed in record.deeds.items():
        told = record.told.get(number)
        want[deed.title] += 1
        have[deed.title] += told == deed.expected
        if told != deed.expected:
            summary.problems.append(
                f"deed {number}, {_who(deed)}, {deed.title}: expected "
                f"{deed.expected!r}, was told {told!r}"
            )
    line = ("adventurers' deeds, rightly answered", want.total(), have.total())
    summary.lines.append(line)
    for title in sorted(want):
        summary.lines.append((f"  {title}", want[title], have[title]))


def _compare_fights(summary: Summary, fates: Fates) -> None:
    rows = CombatHistory.objects.filter(session_id__in=fates.fights)
    endings = {
        str(session_id): (status, document["meta"]["finish_reason"] == "abandoned")
        for session_id, status, document in rows.values_list(
            "session_id", "settlement_status", "result_payload"
        )
    }
    players: dict[str, list[int]] = {}
    lines = LedgerLine.objects.filter(session_id__in=fates.fights)
    for session, char_id in lines.values_list("session_id", "character_id"):
        players.setdefault(str(session), []).append(char_id)
    found = {
        session: (*ending, sorted(players.get(session, [])))
        for session, ending in endings.items()
    }
    want = {
        session: ("processed", session in fates.forced, char_ids)
        for session, char_ids in fates.fights.items()
    }
    handed_over = {s: end for s, end in want.items() if s not in fates.forced}
    forced = {s: end for s, end in want.items() if s in fates.forced}
    _compare(summary, "their fights, settled once", "fight", handed_over, found)
    _compare(summary, "abandoned fights, ended by force", "fight", forced, found)


def _compare_journeys(summary: Summary, fates: Fates) -> None:
    saved = {
        str(row.session_id): (
            row.character_id,
            row.version,
            row.progress,
            row.closed_at is not None,
        )
        for row in ScenarioSession.objects.filter(session_id__in=fates.journeys)
    }
    want = {
        session: (j.character, j.version, j.progress, j.is_closed)
        for session, j in fates.journeys.items()
    }
    _compare(summary, "journeys saved as far as they went", "journey", want, saved)


def _compare_characters(summary: Summary, fates: Fates, found: dict[int, Fate]) -> None:
    want = fates.characters
    _compare(
        summary,
        "inventories, row by row",
        "inventory of character",
        {char_id: fate.bag.shapes() for char_id, fate in want.items()},
        {
            char_id: _known(fate, want[char_id])
            for char_id, fate in found.items()
            if char_id in want
        },
    )
    _compare(
        summary,
        "XP and gold of adventurers",
        "purse of character",
        {char_id: (fate.xp, fate.gold) for char_id, fate in want.items()},
        {char_id: (fate.xp, fate.gold) for char_id, fate in found.items()},
    )
    _compare(
        summary,
        "hp, energy, place: the newest",
        "vitals of character",
        {char_id: _vitals(fate) for char_id, fate in want.items()},
        {char_id: _vitals(fate) for char_id, fate in found.items()},
    )


def _known(found: Fate, wanted: Fate) -> Counter[Shape]:
    """A row made in this run has an id that only PostgreSQL could give it."""
    ids = {row.id for row in wanted.bag.rows if row.id is not None}
    for row in found.bag.rows:
        row.id = row.id if row.id in ids else None
    return found.bag.shapes()


def _vitals(fate: Fate) -> tuple[int, int, str, str]:
    return fate.hp, fate.energy, fate.location, fate.state


def _compare_operations(summary: Summary, fates: Fates, record: Record) -> None:
    keys = {_key(*name) for name in fates.applied}
    sent = keys | {_key(*name) for name in fates.parked}
    applied = AppliedOperation.objects.filter(key__in=sent).values_list("key")
    _compare(
        summary,
        "inventory operations applied",
        "operation",
        dict.fromkeys(keys, True),
        {key: True for (key,) in applied},
        is_all=True,
    )
    names = {
        (deed.character, operation["op_id"])
        for deed in record.deeds.values()
        if isinstance(deed, Handle)
        for operation in deed.operations
    }
    parked = {
        (row.character_id, row.op_id): (row.code, row.blocked_by)
        for row in ParkedOperation.objects.filter(
            census.operations_of(names), scope="inventory", resolved_at=None
        )
    }
    _compare(
        summary,
        "parked, waiting for a person",
        "operation",
        fates.parked,
        parked,
        is_all=True,
    )
    want = Counter(code for code, _ in fates.parked.values())
    have = Counter(code for code, _ in parked.values())
    for code in sorted(want | have):
        summary.lines.append((f"  {code}", want[code], have[code]))


def _compare_unheard(
    summary: Summary, record: Record, fates: Fates, found: dict[int, Fate]
) -> None:
    """Asked for while the broker was away: only the sweep can have delivered it."""
    asked = [d for d in record.deeds.values() if not getattr(d, "is_heard", True)]
    open_journeys = ScenarioSession.objects.filter(
        session_id__in=fates.journeys, closed_at=None
    )
    travelling = set(open_journeys.values_list("character_id", flat=True))
    delivered = 0
    for deed in asked:
        match deed:
            case Rest():
                fate = found[deed.character]
                delivered += _vitals(fate) == _vitals(fates.characters[deed.character])
            case Switch():
                delivered += deed.character not in travelling
            case Handle():
                keys = [_key(deed.character, op["op_id"]) for op in deed.operations]
                applied = AppliedOperation.objects.filter(key__in=keys)
                delivered += applied.count() == len(keys)
    line = ("asked for without a broker, saved", len(asked), delivered)
    summary.lines.append(line)


def _compare_leftovers(summary: Summary) -> None:
    reserved = census.reserved_items()
    busy, intents = census.busy_accounts(), census.intents_left()
    summary.lines += [
        ("belt items still reserved", 0, reserved),
        ("accounts in a fight or half closed", 0, len(busy)),
        ("saves still owed", 0, len(intents)),
    ]
    summary.problems += busy
    summary.problems += [f"nobody has saved {intent}" for intent in intents]


def _compare(
    summary: Summary,
    what: str,
    noun: str,
    want: dict[Key, Value],
    found: dict[Key, Value],
    *,
    is_all: bool = False,
) -> None:
    """One line with how many are as they must be; `is_all`: nor may there be others."""
    right = [key for key, value in want.items() if found.get(key) == value]
    others = [key for key in found if key not in want] if is_all else []
    summary.lines.append((what, len(want), len(right) + len(others)))
    wrong: Iterable[Key] = [*(key for key in want if key not in set(right)), *others]
    summary.problems += [
        f"{noun} {key}: expected {want.get(key)}, found {found.get(key)}"
        for key in wrong
    ]


def _key(char_id: int, op_id: str) -> str:
    return f"inventory:{char_id}:{op_id}"


def _who(deed: Deed) -> str:
    if isinstance(deed, Begin | Finish | Vanish):
        return f"fight {deed.session}"
    return f"character {deed.character}"
