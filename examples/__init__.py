"""What other programs of the game do with this one. Run from the repository's root."""

from __future__ import annotations
