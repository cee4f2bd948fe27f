"""Which results are too good to be true: held for a person before anything is planned.

Pure: (combat, rules, what its players gained lately) -> the first rule that it breaks.
A person who replays what is held has approved it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

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

Gains = dict[tuple[int, str, str], int]
"""By (character, amount, item template)."""

_HELD = re.compile(
    r"rule (\d+): (\w+)(?: (.+))? in a \w+, character (\d+): (-?\d+), limit (\d+)"
)


class Rules:
    """The rules that are on, and what each combat of the batch asks for.

    `lately`: what was gained before, where that and the whole batch may break a rule of
    a day; what is not there breaks none.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        gains: Mapping[UUID, Sequence[Gain]] | None = None,
        lately: Gains | None = None,
    ) -> None:
        self._rules = rules
        self._gains = gains or {}
        self._lately: Gains = lately or {}
        # Nearly every combat is below the lowest limit of each amount.
        self._of_fight = lowest(rules, Span.FIGHT)
        self._of_day = lowest(rules, Span.DAY)

    def check(self, combat: Combat) -> Sequence[Gain]:
        """What to `add` once this combat is settled.

        Raises DomainFailure `held_for_review` with rule, value and limit.
        """
        gains = self._gains.get(combat.session_id, ())
        if not combat.is_approved and self._is_suspect(combat, gains):
            for rule in self._rules:
                self._check(combat, rule, gains)
        return gains if self._of_day else ()

    def add(self, gains: Iterable[Gain]) -> None:
        """Count them for the combats that come after."""
        for char_id, amount, item, value in gains:
            key = char_id, amount, item
            self._lately[key] = self._lately.get(key, 0) + value

    def _is_suspect(self, combat: Combat, gains: Iterable[Gain]) -> bool:
        """Whether a rule may be broken: where not, none is."""
        for char_id, amount, item, value in gains:
            if value > self._of_fight.get(amount, value):
                return True
            limit = self._of_day.get(amount)
            if limit is not None:
                before = self._lately.get((char_id, amount, item), 0)
                if before + value > limit:
                    return True
        return Amount.ROSTER in self._of_fight and combat.roster is not None

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
                value += self._lately.get((char_id, amount, item), 0)
            if value > rule.limit:
                raise _held(combat, rule, char_id, item, value)


def held(detail: str) -> Held | None:
    """The detail of a failure `held_for_review`, taken apart."""
    match = _HELD.fullmatch(detail)
    if match is None:
        return None
    rule_id, amount, item, char_id, value, limit = match.groups()
    return Held(int(rule_id), amount, item or "", int(char_id), int(value), int(limit))


def gains_of(combat: Combat, catalogue: Catalogue) -> Iterator[Gain]:
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


def room_of_day(
    rules: Iterable[Rule], gains: Iterable[Gain]
) -> tuple[set[int], dict[str, int]]:
    """Who gains what a rule of a day bounds, and how much of each amount anybody may
    have gained before, so that these gains together break none."""
    limits = lowest(rules, Span.DAY)
    together: Gains = {}
    for char_id, amount, item, value in gains:
        # A penalty makes no room: its combat may yet fail.
        if value > 0 and amount in limits:
            key = char_id, amount, item
            together[key] = together.get(key, 0) + value
    most: dict[str, int] = {}
    for (_, amount, _), value in together.items():
        most[amount] = max(value, most.get(amount, 0))
    room = {amount: limits[amount] - value for amount, value in most.items()}
    return {char_id for char_id, _, _ in together}, room


def lowest(rules: Iterable[Rule], span: Span) -> dict[str, int]:
    """The lowest limit of each amount that a rule of that span bounds."""
    lowest: dict[str, int] = {}
    for rule in rules:
        if rule.span == span:
            known = lowest.get(rule.amount, rule.limit)
            lowest[rule.amount] = min(known, rule.limit)
    return lowest


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
        f"rule {rule.id}",
    )
