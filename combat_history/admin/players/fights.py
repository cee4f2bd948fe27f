"""A player's fights as the page tells them: of a time, against whom, with what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib.admin.options import IncorrectLookupParameters
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join

from combat_history.admin import movements, sides
from combat_history.admin.combats import filters
from combat_history.admin.naming import Names
from combat_history.admin.players.answer import PARAMETER as FIGHT
from combat_history.admin.rendering import badges, session_link, visible
from combat_history.insight import explain, player_page
from combat_history.insight.player_page import Fight, Fights, Position, Range
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.ids import short_id
from persistence.contract.payload import PLAYER_KEY

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

MAX_PARAMETER = 200
MAX_OPPONENTS = 5
MAX_NAME = 60
RANGE = ("since", "until")
WITH = "with"


@dataclass(frozen=True, slots=True)
class FightRow:
    at: datetime
    link: SafeString
    badges: SafeString | str
    opponents: SafeString
    answer_url: str
    end: str | _StrPromise
    promised: str
    is_winner: bool
    xp: movements.Change | None
    gold: movements.Change | None
    movements: movements.Line | None


def position_of(request: HttpRequest) -> Position | None:
    """A forged address shows the newest fights."""
    token = request.GET.get("fights_below", "")[:MAX_PARAMETER]
    try:
        return Position(*filters.read_position(token)) if token else None
    except IncorrectLookupParameters:
        return None


def read(char_id: int, request: HttpRequest, within: Range | None) -> Fights:
    """What the address asks for; of what is searched for the newest alone."""
    if asked := term(request):
        return player_page.find(char_id, asked, within)
    return player_page.fights(char_id, position_of(request), within)


def term(request: HttpRequest) -> str:
    return request.GET.get(WITH, "").strip()[:MAX_PARAMETER]


def older(position: Position | None, request: HttpRequest) -> str:
    if position is None:
        return ""
    token = filters.position(position.finished_at, position.session_id)
    kept = {name: request.GET[name] for name in RANGE if request.GET.get(name)}
    return urlencode({"fights_below": token, **kept})


def time_range(request: HttpRequest) -> Range | None:
    """The times that the address names, in the time zone of the page."""
    since, until = (_moment(request.GET.get(name, "")) for name in RANGE)
    return Range(since, until) if since or until else None


def _moment(text: str) -> datetime | None:
    """None of what is no time: the page then shows the newest."""
    try:
        moment = parse_datetime(text[:MAX_PARAMETER])
        if moment is None or timezone.is_aware(moment):
            return moment
        return timezone.make_aware(moment)
    except (ValueError, OverflowError):
        return None


def player_ids(fight: Fight) -> list[int]:
    fighters = fight.row.fighters if fight.row else None
    return [int(key) for key in fighters or {} if _is_player(key)]


def _is_player(key: str) -> bool:
    return bool(PLAYER_KEY.fullmatch(key)) and int(key) <= MAX_BIGINT


def _opponents(fight: Fight, char_id: int, known: Names) -> SafeString:
    """Who fought on another side; everybody else where the document names no sides."""
    fighters = (fight.row.fighters if fight.row else None) or {}
    team = fighters.get(str(char_id), {}).get("team")
    others = [
        (key, told)
        for key, told in fighters.items()
        if key != str(char_id) and (team is None or told["team"] != team)
    ]
    shown = ((_named(key, told, known),) for key, told in others[:MAX_OPPONENTS])
    listed = format_html_join(", ", "{}", shown)
    return format_html("{}, …", listed) if len(others) > MAX_OPPONENTS else listed


def _named(key: str, told: dict[str, Any], known: Names) -> SafeString | str:
    if _is_player(key) and int(key) in known.characters:
        return known.player(int(key))
    name = told["name"]
    return visible((name if isinstance(name, str) and name else key)[:MAX_NAME])


def shown(fight: Fight, char_id: int, known: Names) -> FightRow:
    line = movements.line_of(fight.line, known) if fight.line else None
    meta = fight.row.document_meta if fight.row else None
    part = fight.row.document_part if fight.row else None
    reason = meta.get("finish_reason") if isinstance(meta, dict) else None
    return FightRow(
        at=fight.position.finished_at,
        link=session_link(fight.position.session_id),
        badges=badges(fight.row) if fight.row else "",
        opponents=_opponents(fight, char_id, known),
        answer_url=f"?{urlencode({FIGHT: short_id(fight.position.session_id)})}#answer",
        end=explain.FINISH_REASONS.get(reason, "") if isinstance(reason, str) else "",
        promised=sides.promise(part, known),
        is_winner=isinstance(part, dict) and part.get("is_winner") is True,
        xp=line.xp if line else None,
        gold=line.gold if line else None,
        movements=line,
    )
