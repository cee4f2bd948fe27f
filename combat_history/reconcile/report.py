"""The report of a reconciliation: full counts, the first findings of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

EXAMPLES = 20
"""Findings shown of one kind: enough to see a pattern, whatever the damage."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `ids` name the rows or keys to look at."""

    code: str
    ids: dict[str, int | str]
    detail: str


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one check. `says`: what holds where nothing was found."""

    code: str
    says: str
    count: int = 0
    findings: Sequence[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    results: Sequence[Result]

    @property
    def count(self) -> int:
        return sum(result.count for result in self.results)

    @property
    def findings(self) -> list[Finding]:
        return [finding for result in self.results for finding in result.findings]

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form: every kind has its count, zeros included."""
        return {
            "clean": self.count == 0,
            "counts": {result.code: result.count for result in self.results},
            "findings": [
                {"code": found.code, "ids": found.ids, "detail": found.detail}
                for found in self.findings
            ],
        }
