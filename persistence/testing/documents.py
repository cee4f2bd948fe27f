"""Builds what an engine hands over, valid unless it is told otherwise."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID, uuid4

from persistence.contract.document import Document
from persistence.contract.payload import validate

ANYBODY = 101
"""Fights where nobody else does."""


class Fight:
    """A fight that is over: `Fight().player(101, xp=10).npc("goblin_1").document()`.

    `over`: any other key of the document, such as `replay_log`.
    """

    def __init__(
        self,
        session_id: UUID | str | None = None,
        *,
        winner_team: str | None = "blue",
        finish_reason: str = "victory",
        end_timestamp: int | None = None,
        **over: Any,
    ) -> None:
        self.session_id = str(session_id or uuid4())
        self._meta = {"winner_team": winner_team, "finish_reason": finish_reason}
        self._end = int(time.time()) if end_timestamp is None else end_timestamp
        self._parts: dict[str, Document] = {}
        self._over = over

    def player(
        self,
        char_id: int = ANYBODY,
        *,
        team: str | None = "blue",
        hp: int = 100,
        energy: int = 100,
        xp: int = 0,
        gold: int = 0,
        balances: Mapping[str, int] | None = None,
        loot: Mapping[str, int] | None = None,
        used: Mapping[int, int] | None = None,
        **changes: Any,
    ) -> Self:
        """`loot`: pieces by template; `used`: by inventory id, which `outcome` leaves
        to `use_item`. `changes`: as the contract names them."""
        given = {
            "xp_gained": xp,
            "gold_gained": gold,
            "balances": dict(balances or {}),
            "items_gained": [
                {"item_template_id": template_id, "qty": qty}
                for template_id, qty in (loot or {}).items()
            ],
            "items_consumed": [
                {"inventory_id": row_id, "qty": qty}
                for row_id, qty in (used or {}).items()
            ],
        }
        self._parts[str(char_id)] = {
            "team": team,
            "is_winner": team is not None and team == self._meta["winner_team"],
            "state_snapshot": {"hp": hp, "energy": energy},
            "changes": {**given, **changes},
            "ui_report": {},
        }
        return self

    def npc(self, name: str, team: str = "red") -> Self:
        """Whoever is no player: kept in the document, never applied."""
        self._parts[name] = {"team": team}
        return self

    def document(self) -> Document:
        """For `submit_combat`. Raises PayloadInvalid as that does."""
        if not self._parts:
            self.player()
        document = {
            "session_id": self.session_id,
            "meta": {"end_timestamp": self._end, **self._meta},
            "participants": self._parts,
            **self._over,
        }
        validate(document)
        return document

    def outcome(self) -> Document:
        """For `finish_combat`: without what Redis knows of a fight that was started."""
        parts = {
            name: {
                "state_snapshot": part["state_snapshot"],
                "changes": {
                    key: value
                    for key, value in part["changes"].items()
                    if key != "items_consumed"
                },
            }
            for name, part in self._parts.items()
            if "changes" in part
        }
        return {"meta": dict(self._meta), "participants": parts, **self._over}
