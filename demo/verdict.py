"""What a summary consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_SHOWN = 20


@dataclass
class Summary:
    """Lines of (what, expected, found), and all that is wrong."""

    lines: list[tuple[str, int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    timing: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.problems and all(want == have for _, want, have in self.lines)

    def text(self) -> str:
        width = max(len(what) for what, _, _ in self.lines) + 2
        table = [f"{'':{width}}expected    found"]
        for what, expected, found in self.lines:
            mark = "" if expected == found else "   <-- differs"
            table.append(f"{what:{width}}{expected:8}{found:9}{mark}")
        shown = self.problems[:MAX_SHOWN]
        if len(self.problems) > MAX_SHOWN:
            shown.append(f"... and {len(self.problems) - MAX_SHOWN} more")
        return "\n".join([*table, "", *self.timing, *shown])
