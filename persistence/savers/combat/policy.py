"""Which results are too good to be true: held for a person before anything is planned.

Pure: (combat, rules, what its players gained lately) -> the first rule that it breaks.
A person who replays what is held has approved it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from persistence.contract.errors import DomainFailure, FailureCode
from persistence.savers.combat.rows import Catalogue, Combat


class Amount(StrEnum):
    """What a rule bounds: of one participant."""

    XP = "xp"
    GOLD = "gold"
    ITEMS = "items"


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


Gains = Counter[tuple[int, str]]
"""By (character, amount)."""


@dataclass(slots=True)
class Rules:
    """The rules that are on, and what was gained lately, where one of them asks."""

    rules: Sequence[Rule] = ()
    lately: Gains = field(default_factory=Counter)

    def check(self, combat: Combat, catalogue: Catalogue) -> Gains:
        """What was gained lately once this combat is settled, too.

        Raises DomainFailure `held_for_review` with rule, value and limit.
        """
        if not self.rules:
            return self.lately
        gains = list(_gains(combat, catalogue))
        after = self.lately
        if any(rule.span == Span.DAY for rule in self.rules):
            after = after.copy()
            for char_id, amount, _, value in gains:
                after[char_id, amount] += value
        if not combat.is_approved:
            for rule in self.rules:
                _check(combat, rule, gains, after)
        return after


NO_RULES = Rules()


def _check(combat: Combat, rule: Rule, gains: Iterable[Gain], after: Gains) -> None:
    for char_id, amount, item, in_fight in gains:
        if amount != rule.amount or rule.item not in ("", item):
            continue
        value = after[char_id, amount] if rule.span == Span.DAY else in_fight
        if value > rule.limit:
            raise _held(combat, rule, char_id, item, value)


Gain = tuple[int, str, str, int]
"""Character, amount, item template or "", and how much."""


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
