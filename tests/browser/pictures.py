"""Pictures of pages for the README, taken where `--pictures` names a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAKEN = (
    "dashboard-en",
    "dashboard-ru",
    "combat-en",
    "fight-log-ru",
    "failed-settlements-en",
    "preview-en",
    "player-en",
)

HEIGHT = 860
"""Pixels; what is below is cut off."""


@dataclass(frozen=True)
class Album:
    folder: Path | None

    def take(self, page: Page, name: str) -> None:
        if self.folder is None or name not in TAKEN:
            return
        size = page.viewport_size
        assert size is not None
        page.set_viewport_size({"width": size["width"], "height": HEIGHT})
        page.screenshot(path=self.folder / f"{name}.png")
        page.set_viewport_size(size)
