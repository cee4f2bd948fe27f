"""Which results are too good to be true: held for a person before anything is planned.

Pure: (combat, rules, what its players gained lately) -> the first rule that it breaks.
A person who replays what is held has approved it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from persistence.contract.errors import DomainFailure, FailureCode
from persistence.contract.payload import begun_with
from persistence.savers.combat.rows import Catalogue, Combat


class Amount(StrEnum):
    """What a rule bounds: of one participant, but for the roster."""

    XP = "xp"
    GOLD = "gold"
    ITEMS = "items"
    ROSTER = "roster"
    """Players of a combat whom its fight was not begun with."""


class Span(StrEnum):
    """Over what: one fight, or all fights of the last 24 hours with it."""

    FIGHT = "fight"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Rule:
    """More than `limit` is held. `item`: pieces of this template; "" of each one."""

    id: int
    amount: str
    span: str
    item: str
    limit: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the detail of a failure says of the rule that held the combat."""

    rule_id: int
    amount: str
    item: str
    character_id: int
    value: int
    limit: int


Gain = tuple[int, str, str, int]
"""Character, amount, item template or "", and how much."""

Gains = Counter[tuple[int, str, str]]
"""By (character, amount, item template)."""

_HELD = re.compile(
    r"rule (\d+): (\w+)(?: (.+))? in a \w+, character (\d+): (-?\d+), limit (\d+)"
)


class Rules:
    """The rules that are on; `lately`: what was gained where one of a day asks."""

    def __init__(self, rules: Sequence[Rule] = (), lately: Gains | None = None) -> None:
        self._rules = rules
        self._lately: Gains = lately or Counter()
        self._has_day = any(rule.span == Span.DAY for rule in rules)
        self._has_roster = any(rule.amount == Amount.ROSTER for rule in rules)
        # Nearly every combat is below the lowest limit of each amount.
        self._xp, self._gold, self._items = (
            min((rule.limit for rule in rules if rule.amount == amount), default=None)
            for amount in (Amount.XP, Amount.GOLD, Amount.ITEMS)
        )

    def check(self, combat: Combat, catalogue: Catalogue) -> Sequence[Gain]:
        """What to `add` once this combat is settled.

        Raises DomainFailure `held_for_review` with rule, value and limit.
        """
        if not self._has_day and not self._is_suspect(combat):
            return ()
        gains = list(_gains(combat, catalogue))
        if not combat.is_approved:
            for rule in self._rules:
                self._check(combat, rule, gains)
        return gains if self._has_day else ()

    def add(self, gains: Iterable[Gain]) -> None:
        """Count them for the combats that come after."""
        for *key, value in gains:
            self._lately[tuple(key)] += value

    def _is_suspect(self, combat: Combat) -> bool:
        """Whether a rule of a fight may be broken: no rule of theirs is missed."""
        if self._has_roster and combat.roster is not None:
            return True
        xp, gold, items = self._xp, self._gold, self._items
        for result in combat.payload.players().values():
            changes = result.changes
            if xp is not None and changes.xp_gained > xp:
                return True
            if gold is not None and changes.gold_gained > gold:
                return True
            if items is not None and sum(loot.qty for loot in result.loot()) > items:
                return True
        return False

    def _check(self, combat: Combat, rule: Rule, gains: Iterable[Gain]) -> None:
        if rule.amount == Amount.ROSTER:
            strangers = _strangers(combat)
            if len(strangers) > rule.limit:
                raise _held(combat, rule, strangers[0], "", len(strangers))
            return
        for char_id, amount, item, value in gains:
            if amount != rule.amount or rule.item not in ("", item):
                continue
            if rule.span == Span.DAY:
                value += self._lately[char_id, amount, item]
            if value > rule.limit:
                raise _held(combat, rule, char_id, item, value)


def held(detail: str) -> Held | None:
    """The detail of a failure `held_for_review`, taken apart."""
    match = _HELD.fullmatch(detail)
    if match is None:
        return None
    rule_id, amount, item, char_id, value, limit = match.groups()
    return Held(int(rule_id), amount, item or "", int(char_id), int(value), int(limit))


def _gains(combat: Combat, catalogue: Catalogue) -> Iterator[Gain]:
    for char_id, result in combat.payload.players().items():
        yield char_id, Amount.XP, "", result.changes.xp_gained
        yield char_id, Amount.GOLD, "", result.changes.gold_gained
        pieces: dict[str, int] = {}
        for loot in result.loot():
            template = catalogue.find(loot)
            if template is not None:
                pieces[template.id] = pieces.get(template.id, 0) + loot.qty
        for template_id, qty in pieces.items():
            yield char_id, Amount.ITEMS, template_id, qty


def _strangers(combat: Combat) -> list[int]:
    """Nobody is one in a fight that was not registered, or whose session says nothing
    that can be read."""
    roster = begun_with(combat.roster)
    return sorted(combat.payload.players().keys() - roster) if roster else []


def _held(
    combat: Combat, rule: Rule, char_id: int, item: str, value: int
) -> DomainFailure:
    what = f"{rule.amount} {item}".strip()
    return DomainFailure(
        str(combat.session_id),
        str(FailureCode.HELD_FOR_REVIEW),
        f"rule {rule.id}: {what} in a {rule.span}, character {char_id}: "
        f"{value}, limit {rule.limit}",
    )
