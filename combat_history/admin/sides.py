"""Who fought, from the document: teams, winners, monsters, and what was promised.

A document of a failed combat may hold anything anywhere; what is not of the contract's
shape is left out here, and stands in the document below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext

from combat_history.admin.naming import Names, combats_url, told
from combat_history.admin.rendering import as_json, visible
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.meta import MAX_NAME
from persistence.contract.payload import PLAYER_KEY

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

MAX_FIGHTERS = 100
"""How many the page of a combat shows; the contract allows a thousand."""

MAX_PROMISED = 20
"""Items named of what one player was to get or to lose."""

MAX_KEY = 64
"""Characters shown of a monster's key."""


@dataclass(frozen=True, slots=True)
class Fighter:
    key: str
    name: str
    player: SafeString | None
    """A link to the player's page; None for monsters and unknown characters."""

    combats_url: str | None
    """Where the other combats of a player are listed."""

    is_winner: bool
    hp: int | None
    energy: int | None
    promise: str

    @property
    def is_ai(self) -> bool:
        return self.combats_url is None


@dataclass(slots=True)
class Side:
    """`team` is empty where the document names none."""

    team: str
    is_winner: bool
    fighters: list[Fighter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sides:
    sides: list[Side]
    more_fighters: int


def player_ids(document: object) -> Iterator[int]:
    """The players among the fighters that are shown."""
    for key, _entry in _participants(document)[:MAX_FIGHTERS]:
        if (char_id := _player_id(key)) is not None:
            yield char_id


def template_ids(document: object) -> Iterator[object]:
    """The templates of all that the shown fighters were promised."""
    for _key, entry in _participants(document)[:MAX_FIGHTERS]:
        yield from promised_templates(entry)


def names_in(document: object) -> dict[str, str]:
    """Names that the document gives its participants, by key."""
    told = ((key, _text(entry.get("name"))) for key, entry in _participants(document))
    return {key: name for key, name in told if name}


def sides_of(document: object, names: Names) -> Sides:
    """Who fought, by team, as the document says; the winners are marked."""
    winner_team = _text(_dict(_dict(document).get("meta")).get("winner_team"))
    everybody = _participants(document)
    sides: dict[str, Side] = {}
    for key, entry in everybody[:MAX_FIGHTERS]:
        team = _text(entry.get("team"))
        is_winner = bool(team) and team == winner_team
        side = sides.setdefault(team, Side(team, is_winner))
        side.fighters.append(_fighter(key, entry, is_winner, names))
    ordered = sorted(sides.values(), key=lambda side: (not side.is_winner, side.team))
    return Sides(ordered, max(0, len(everybody) - MAX_FIGHTERS))


def _fighter(
    key: str, entry: dict[str, Any], of_winners: bool, names: Names
) -> Fighter:
    char_id = _player_id(key)
    vitals = _dict(entry.get("state_snapshot")) or entry
    is_known = char_id in names.characters
    return Fighter(
        key=visible(key[:MAX_KEY]),
        name=_text(entry.get("name")),
        player=names.player(char_id) if char_id is not None and is_known else None,
        combats_url=combats_url(char_id) if char_id is not None else None,
        is_winner=entry.get("is_winner") is True or of_winners,
        hp=_number(vitals.get("hp")),
        energy=_number(vitals.get("energy")),
        promise=promise(entry, names) if char_id is not None else "",
    )


def promised_templates(entry: object) -> Iterator[object]:
    """Ids of all items in one participant's part of a document."""
    for item in [*_gained(_dict(entry)), *_consumed(_dict(entry))]:
        yield item.get("item_template_id")


def gained_templates(document: object) -> Iterator[str]:
    """Ids of all loot that the document names by id."""
    for _key, entry in _participants(document)[:MAX_FIGHTERS]:
        for item in _gained(entry):
            if isinstance(id_ := item.get("item_template_id"), str):
                yield id_


def balance_ids(document: object) -> Iterator[str]:
    """Ids of the named balances of the fighters that are shown."""
    for _key, entry in _participants(document)[:MAX_FIGHTERS]:
        yield from promised_balances(entry)


def promised_balances(entry: object) -> dict[str, Any]:
    """The named balances of one participant's part of a document."""
    return _dict(_dict(_dict(entry).get("changes")).get("balances"))


def promise(entry: object, names: Names) -> str:
    """What one participant's part of a document says that it gets and loses."""
    entry = _dict(entry)
    changes = _dict(entry.get("changes"))
    parts = []
    if xp := changes.get("xp_gained"):
        parts.append(gettext("%(amount)s XP") % {"amount": _amount(xp)})
    if gold := changes.get("gold_gained"):
        parts.append(gettext("%(amount)s gold") % {"amount": _amount(gold)})
    named = promised_balances(entry)
    for id_ in list(named)[:MAX_PROMISED]:
        parts.append(f"{names.balance(id_)[:MAX_NAME]} {_amount(named[id_])}")
    if len(named) > MAX_PROMISED:
        parts.append("…")
    for sign, items in (("+", _gained(entry)), ("−", _consumed(entry))):
        parts += [f"{sign}{_piece(item, names)}" for item in items[:MAX_PROMISED]]
        if len(items) > MAX_PROMISED:
            parts.append("…")
    return ", ".join(parts)


def _piece(item: dict[str, Any], names: Names) -> str:
    template_id = item.get("item_template_id")
    name = _text(item.get("name")) if template_id is None else names.item(template_id)
    row = item.get("inventory_id", item.get("inv_id"))
    shown = name or f"#{as_json(row)[:MAX_KEY]}"
    properties = f" {told(item['properties'])}" if item.get("properties") else ""
    qty = as_json(item.get("qty", 1))[:MAX_KEY]
    return f"{shown[:MAX_NAME]}{properties} ×{qty}"


def _amount(value: object) -> str:
    """A number with its sign; anything else is wrong there, and shown as it is."""
    number = _number(value)
    return as_json(value)[:MAX_KEY] if number is None else f"{number:+d}"


def _gained(entry: dict[str, Any]) -> list[dict[str, Any]]:
    gained = _dict(entry.get("changes")).get("items_gained")
    if gained is None:
        gained = _dict(entry.get("ui_report")).get("loot_obtained")
    return _dicts(gained)


def _consumed(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return _dicts(_dict(entry.get("changes")).get("items_consumed"))


def _participants(document: object) -> list[tuple[str, dict[str, Any]]]:
    entries = _dict(_dict(document).get("participants"))
    return [(key, _dict(entry)) for key, entry in entries.items()]


def _player_id(key: str) -> int | None:
    if not PLAYER_KEY.fullmatch(key) or int(key) > MAX_BIGINT:
        return None
    return int(key)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, dict)]


def _text(value: object) -> str:
    return visible(value[:MAX_NAME]) if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
