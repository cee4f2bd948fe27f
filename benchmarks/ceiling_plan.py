"""The least arithmetic that settles a sound backlog, in plain dicts.

No validation, no shortages, no failures: documents are taken at their word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from benchmarks.combat import Combat, Json

Row = tuple[Any, ...]

CHARACTER = (
    "id",
    "xp",
    "gold",
    "hp",
    "energy",
    "vitals_at",
    "vitals_session_id",
)
ITEM = (
    "id",
    "character_id",
    "item_template_id",
    "quantity",
    "is_equipped",
    "slot",
    "durability",
    "max_durability",
    "origin_session_id",
    "opening_quantity",
    "reserved_session_id",
    "properties",
)


class Ledger:
    """Locked rows, brought forward combat by combat; what changed is to be written."""

    def __init__(
        self,
        characters: Iterable[Row],
        items: Iterable[Row],
        templates: Iterable[Row],
        new_ids: Iterator[int],
    ) -> None:
        self.characters: dict[int, Json] = {
            row[0]: dict(zip(CHARACTER, row, strict=True)) for row in characters
        }
        self.items: dict[int, Json] = {}
        self.owned: defaultdict[tuple[int, str], list[Json]] = defaultdict(list)
        for row in sorted(items):
            if row[0] not in self.items:
                self._add(dict(zip(ITEM, row, strict=True)))
        self.templates = {key: row for row in templates for key in (row[0], row[1])}
        self.new_ids = new_ids
        self.updated: dict[int, Json] = {}
        self.inserted: dict[int, Json] = {}
        self.removed: list[int] = []
        self.lines: list[Row] = []

    def apply(self, combat: Combat) -> None:
        for char_id, result in combat.participants:
            character = self.characters[char_id]
            changes = result["changes"]
            character["xp"] += changes["xp_gained"]
            character["gold"] += changes["gold_gained"]
            self._snapshot(character, combat, result["state_snapshot"])
            movements = [
                *self._consume(changes["items_consumed"]),
                *self._wear(char_id, changes["durability_loss"]),
                *self._grant(char_id, combat),
            ]
            self.lines.append(
                (
                    combat.session_id,
                    1,
                    char_id,
                    changes["xp_gained"],
                    changes["gold_gained"],
                    character["xp"],
                    character["gold"],
                    movements,
                )
            )

    def _snapshot(self, character: Json, combat: Combat, snapshot: Json) -> None:
        this = (combat.finished_at, combat.session_id)
        last = (character["vitals_at"], character["vitals_session_id"])
        if last[0] is None or this > last:
            character["hp"], character["energy"] = snapshot["hp"], snapshot["energy"]
            character["vitals_at"], character["vitals_session_id"] = this

    def _consume(self, entries: Iterable[Json]) -> Iterator[Json]:
        used: dict[int, int] = {}
        for entry in entries:
            row_id = entry["inventory_id"]
            used[row_id] = used.get(row_id, 0) + entry["qty"]
        for row_id, qty in used.items():
            item = self.items[row_id]
            image = dict(item)
            item["quantity"] -= qty
            movement = _movement(item, "consumed", -qty)
            if item["quantity"]:
                self.updated[row_id] = item
            else:
                self._remove(item)
                movement["image"] = image
            yield movement

    def _wear(self, char_id: int, losses: dict[str, int]) -> Iterator[Json]:
        for target, points in losses.items():
            kind, _, name = target.partition(":")
            if kind == "item":
                item = next(i for i in self.owned[char_id, name] if i["is_equipped"])
            else:
                item = self.items[int(name)]
            before = item["durability"]
            item["durability"] = max(0, before - points)
            self.updated[item["id"]] = item
            movement = _movement(item, "worn", 0)
            movement["durability_delta"] = item["durability"] - before
            movement["durability_after"] = item["durability"]
            yield movement

    def _grant(self, char_id: int, combat: Combat) -> Iterator[Json]:
        for loot in combat.loot[char_id]:
            template = self.templates[loot.get("item_template_id") or loot["name"]]
            stackable = template[3]
            if not stackable:
                for _ in range(loot["qty"]):
                    piece = self._insert(char_id, template, combat.session_id, 1)
                    yield _movement(piece, "gained", 1)
                continue
            stack = self._bag_stack(char_id, template[0])
            if stack is None:
                stack = self._insert(char_id, template, combat.session_id, loot["qty"])
            else:
                stack["quantity"] += loot["qty"]
                if stack["id"] not in self.inserted:
                    self.updated[stack["id"]] = stack
            yield _movement(stack, "gained", loot["qty"])

    def _bag_stack(self, char_id: int, template_id: str) -> Json | None:
        for item in self.owned[char_id, template_id]:
            if not item["is_equipped"] and item["slot"] is None:
                return item
        return None

    def _insert(
        self, char_id: int, template: Row, session_id: UUID, quantity: int
    ) -> Json:
        template_id, _, _, _, durability = template
        row = (
            next(self.new_ids),
            char_id,
            template_id,
            quantity,
            False,
            None,
            durability,
            durability,
            session_id,
            0,
            None,
            None,
        )
        item = dict(zip(ITEM, row, strict=True))
        self._add(item)
        self.inserted[item["id"]] = item
        return item

    def _add(self, item: Json) -> None:
        self.items[item["id"]] = item
        self.owned[item["character_id"], item["item_template_id"]].append(item)

    def _remove(self, item: Json) -> None:
        del self.items[item["id"]]
        self.owned[item["character_id"], item["item_template_id"]].remove(item)
        self.updated.pop(item["id"], None)
        self.removed.append(item["id"])


def _movement(item: Json, kind: str, delta: int) -> Json:
    return {
        "inventory_id": item["id"],
        "item_template_id": item["item_template_id"],
        "kind": kind,
        "delta": delta,
        "after": item["quantity"],
    }
