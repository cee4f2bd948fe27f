"""The page of the fight log: a fight turn by turn, as a page and as plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin import sides, svg
from combat_history.admin.base import Page
from combat_history.admin.naming import names
from combat_history.admin.rendering import combat_url, visible
from combat_history.insight import explain
from combat_history.insight.fight_log import (
    FightLog,
    Series,
    Turn,
    read_stored,
    text_lines,
)
from combat_history.models import CombatHistory, CombatReplay
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

NOTHING = FightLog([], 0, [], 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A turn with names in place of ids."""

    number: str
    actor: str
    target: str
    action: str
    amount: str
    hp: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    name: str
    drawing: SafeString


class FightLogPage(Page):
    route = "<uuid:session_id>/fight-log/"
    name = "fight_log"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        session_id: UUID = named["session_id"]
        self.require_view(request)
        row = CombatHistory.objects.only("result_payload").filter(pk=session_id).first()
        if row is None:
            raise Http404
        view = _stored(session_id)
        names = _names(row.result_payload)
        if request.GET.get("format") == "txt":
            return _plain(session_id, view, names)
        context = {
            **self.context(request),
            "title": _("The fight, turn by turn"),
            "short_id": short_id(session_id),
            "combat_url": combat_url(session_id),
            "charts": [
                _chart(series, number, len(view.turns), names)
                for number, series in enumerate(view.series)
            ],
            "rows": [_row(turn, names) for turn in view.turns],
            "view": view,
            "problem": explain.FIGHT_LOG_PROBLEMS[view.problem] if view.problem else "",
            "raw": visible(view.raw),
        }
        return TemplateResponse(
            request, "admin/combat_history/combathistory/fight_log.html", context
        )


def _stored(session_id: UUID) -> FightLog:
    fight_log = CombatReplay.objects.filter(pk=session_id).first()
    if fight_log is None:
        return NOTHING
    return read_stored(bytes(fight_log.data))


def _names(document: object) -> dict[str, str]:
    """The characters' own names first, else those that the document gives; with the key
    where several have one name."""
    known = names(sides.player_ids(document), [])
    current = {str(pk): visible(name) for pk, name in known.characters.items()}
    named = sides.names_in(document) | current
    often = Counter(named.values())
    return {
        key: f"{name} ({visible(key[: sides.MAX_KEY])})" if often[name] > 1 else name
        for key, name in named.items()
    }


def _plain(session_id: UUID, view: FightLog, named: Mapping[str, str]) -> HttpResponse:
    lines = [str(session_id), *text_lines(view, named)]
    if view.problem:
        lines.append(str(explain.FIGHT_LOG_PROBLEMS[view.problem]))
    text = "\n".join(visible(line.replace("\n", " ")) for line in lines)
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8")


def _row(turn: Turn, named: Mapping[str, str]) -> Row:
    def name(key: str) -> str:
        return named.get(key) or visible(key)

    return Row(
        number=visible(turn.number),
        actor=name(turn.actor),
        target="" if turn.target == turn.actor else name(turn.target),
        action=visible(turn.action),
        amount=visible(turn.amount),
        hp=", ".join(f"{name(key)} {health}" for key, health in turn.hp.items()),
        text=visible(turn.text),
    )


def _chart(series: Series, number: int, turns: int, named: Mapping[str, str]) -> Chart:
    name = named.get(series.participant) or visible(series.participant)
    values = [health for _position, health in series.points]
    description = gettext(
        "Health of %(name)s over %(turns)d turns: %(first)d when first told, "
        "%(lowest)d at the lowest, %(last)d at the end."
    ) % {
        "name": name,
        "turns": turns,
        "first": values[0],
        "lowest": min(values),
        "last": values[-1],
    }
    drawing = svg.step_chart(
        series.points,
        key=f"hp-{number}",
        title=name,
        description=description,
        until=turns,
    )
    return Chart(name, drawing)
