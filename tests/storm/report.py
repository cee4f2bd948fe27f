"""The figures of a storm, for people and for programs."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.storm import judge
from tests.storm.bot import Bot, Doubt
from tests.storm.nemesis import Nemesis
from tests.storm.story import Story

SHOWN = 3
"""Findings that differ in nothing but ids and numbers; the file has all of them."""

_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9.]+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Report:
    figures: dict[str, Any]
    findings: list[dict[str, Any]]

    @classmethod
    def of(
        cls,
        options: argparse.Namespace,
        story: Story,
        nemesis: Nemesis,
        bots: list[Bot],
        found: list[str],
        recoveries: list[float],
        seconds: float,
    ) -> Report:
        doubts = [doubt for bot in bots for doubt in bot.doubts]
        untrue = judge.untrue(story, doubts)
        figures = {
            "seed": options.seed,
            "servers": options.servers,
            "minutes": round(seconds / 60, 1),
            "combats": len(story.journal.accepted),
            "by door": dict(story.doors),
            "operations": len(story.operations.answered),
            "look-ups": sum(bot.asked for bot in bots),
            "without answer": sum(bot.unanswered for bot in bots),
            "told to come again": sum(bot.later for bot in bots),
            "voided": len(story.journal.voided),
            "undone": len(story.journal.undone),
            "ended by the system": len(story.ended_by_system),
            "faults": nemesis.struck.total(),
            "by kind": dict(sorted(nemesis.struck.items())),
            "accepted and lost": sum("LOST" in text for text in found),
            "doubled": sum(" times, not " in text for text in found),
            "untrue answers": len(untrue),
            "excused answers": len(doubts) - len(untrue),
            "worst recovery": round(max(recoveries), 1),
            "findings": len(found) + len(untrue),
        }
        told = [_as_report(story, text) for text in found]
        return cls(figures, told + [_doubted(story, doubt) for doubt in untrue])

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        return {**self.figures, "details": self.findings}

    def __str__(self) -> str:
        lines = [f"{name:>20}  {value}" for name, value in self.figures.items()]
        shown: Counter[str] = Counter()
        for finding in self.findings:
            kind = _IDS.sub("*", finding["what"])
            shown[kind] += 1
            if shown[kind] > SHOWN:
                continue
            lines.append(f"\nFOUND {finding['what']}")
            lines += [f"      {line}" for line in finding["journal"]]
            lines += [f"      {line}" for line in finding["faults"]]
        lines += [f"{number:>6} times {kind}" for kind, number in shown.items()]
        return "\n".join(lines)


def _as_report(story: Story, text: str) -> dict[str, Any]:
    """With what the journals say of it, and the faults around its acceptance."""
    named = _UUID.search(text)
    lines = story.lines_about(named[0]) if named else []
    accepted = [line for line in lines if line["kind"] in ("accepted", "started")]
    at = (accepted or lines or [{"at": 0.0}])[0]["at"]
    told = [
        f"{line['at']:.2f} {line['kind']} {line.get('answer', line.get('ended', ''))}"
        for line in lines
    ]
    return {"what": text, "journal": told, "faults": story.around(at, 2, 5)}


def _doubted(story: Story, doubt: Doubt) -> dict[str, Any]:
    what = f"{doubt.sid} told {doubt.what} ({doubt.answer}) at {doubt.at:.2f}"
    known = f"known since {doubt.at - doubt.since:.2f} s"
    return {"what": what, "journal": [known], "faults": story.around(doubt.at)}
