"""A player's page: what they have, what moved it, and why something is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin import movements, sides
from combat_history.admin.combats import dossier
from combat_history.admin.naming import Names, combats_url, names, session_search
from combat_history.admin.players import fights
from combat_history.admin.players.answer import Answer, answer, asked
from combat_history.admin.players.course import shown as shown_course
from combat_history.admin.rendering import (
    EMPTY,
    UNDONE,
    pretty,
    session_link,
    visible,
)
from combat_history.admin.review.parked_codes import explained
from combat_history.insight import explain, player_page
from combat_history.insight.course import Course, course
from combat_history.insight.player_page import Fights, Lines, Range
from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
)
from persistence.contract.changes import MAX_BIGINT

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

MAX_PARAMETER = 200


@dataclass(frozen=True, slots=True)
class Item:
    id: int
    name: str
    quantity: int
    slot: str
    is_equipped: bool
    durability: str
    reserved_url: str
    origin: SafeString | str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that the player may miss, and the words for why it is not there."""

    at: datetime
    where: SafeString | str
    label: str | _StrPromise
    meaning: str | _StrPromise
    remedy: str | _StrPromise
    what: SafeString | str


@dataclass(frozen=True, slots=True)
class Parked:
    at: datetime
    id: int
    op_id: str
    scope: str
    label: str | _StrPromise
    operation: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of a player; empty where its reader may not look."""

    items: list[InventoryItem] = field(default_factory=list)
    more_items: bool = False
    fights: Fights = field(default_factory=Fights)
    lines: Lines = field(default_factory=Lines)
    course: Course = field(default_factory=lambda: Course([], []))
    lacks: list[SettlementDiscrepancy] = field(default_factory=list)
    without_effect: list[Any] = field(default_factory=list)
    parked: list[ParkedOperation] = field(default_factory=list)
    rejected: list[RejectedPayload] = field(default_factory=list)


def page_context(row: Character, request: HttpRequest) -> dict[str, Any]:
    """Template context. What a person may not view elsewhere is not read here."""
    may = _allowed(request.user)
    within = fights.time_range(request)
    seen = _read(row.pk, request, may, within)
    owned = player_page.balances(row.pk)
    known = _names(row.pk, seen, owned)
    return {
        "may": may,
        "player_location": visible(row.location),
        "player_state": visible(row.state),
        "balances": [(known.balance(id_), amount) for id_, amount in owned.items()],
        "items": [_item(item, known) for item in seen.items],
        "more_items": seen.more_items,
        "fights": [fights.shown(fight, row.pk, known) for fight in seen.fights.fights],
        "older_fights": fights.older(seen.fights.older, request),
        "answer": _answer(row.pk, seen, request) if may["combats"] else None,
        "since": request.GET.get("since", "")[:MAX_PARAMETER],
        "until": request.GET.get("until", "")[:MAX_PARAMETER],
        "with": fights.term(request),
        "is_narrowed": within is not None or fights.term(request),
        "course": shown_course(seen.course, known),
        "all_fights_url": combats_url(row.pk),
        "lines": [movements.line_of(line, known) for line in seen.lines.lines],
        "older_lines": seen.lines.older,
        "parked": [_parked(operation) for operation in seen.parked],
        "refusals": _refusals(seen, known),
        "unseen": ", ".join(str(SOURCES[n]) for n in SOURCES if not may[n]),
        "refusal_window": player_page.REFUSAL_WINDOW,
    }


def _answer(char_id: int, seen: Seen, request: HttpRequest) -> Answer | None:
    """To the fight that was asked for, else to the newest."""
    session_id = asked(request)
    if session_id is None and seen.fights.fights:
        session_id = seen.fights.fights[0].position.session_id
    return None if session_id is None else answer(char_id, session_id)


def _read(
    char_id: int, request: HttpRequest, may: dict[str, bool], within: Range | None
) -> Seen:
    found: dict[str, Any] = {}
    if may["inventory"]:
        found["items"], found["more_items"] = player_page.inventory(char_id)
    if may["combats"]:
        found["fights"] = fights.read(char_id, request, within)
        found["without_effect"] = player_page.without_effect(char_id)
    if may["ledger"]:
        found["lines"] = player_page.ledger(char_id, _ledger_position(request))
        found["course"] = course(char_id)
    if may["discrepancies"]:
        found["lacks"] = player_page.discrepancies(char_id)
    if may["parked"]:
        found["parked"] = player_page.parked(char_id)
    if may["rejected"]:
        found["rejected"] = player_page.rejected(char_id)
    return Seen(**found)


def _names(char_id: int, seen: Seen, owned: Iterable[str]) -> Names:
    settled = [fight.line for fight in seen.fights.fights if fight.line]
    parts = [row.document_part for row in seen.without_effect]
    parts += [f.row.document_part for f in seen.fights.fights if f.row]
    return names(
        [char_id, *chain.from_iterable(map(fights.player_ids, seen.fights.fights))],
        [
            *(item.item_template_id for item in seen.items),
            *movements.template_ids(seen.lines.lines),
            *movements.template_ids(settled),
            *(lack.item_template_id for lack in seen.lacks),
            *chain.from_iterable(map(sides.promised_templates, parts)),
        ],
        [
            *owned,
            *seen.course.named,
            *movements.balance_ids(seen.lines.lines),
            *movements.balance_ids(settled),
            *(lack.balance_id for lack in seen.lacks),
            *chain.from_iterable(map(sides.promised_balances, parts)),
        ],
    )


def _refusals(seen: Seen, known: Names) -> list[Refusal]:
    """Newest first."""
    told = [
        *(_of_lack(lack, known) for lack in seen.lacks),
        *(_of_combat(row, known) for row in seen.without_effect),
        *map(_of_parked, seen.parked),
        *map(_of_rejected, seen.rejected),
    ]
    return sorted(told, key=lambda refusal: refusal.at, reverse=True)


def _allowed(user: User | AnonymousUser) -> dict[str, bool]:
    models = {
        "inventory": "inventoryitem",
        "combats": "combathistory",
        "ledger": "ledgerline",
        "discrepancies": "settlementdiscrepancy",
        "parked": "parkedoperation",
        "rejected": "rejectedpayload",
    }
    return {
        name: user.has_perm(f"combat_history.view_{model}")
        for name, model in models.items()
    }


def _ledger_position(request: HttpRequest) -> int | None:
    text = request.GET.get("ledger_below", "")[:MAX_PARAMETER]
    is_number = text.isascii() and text.isdigit()
    return int(text) if is_number and int(text) <= MAX_BIGINT else None


def _item(item: InventoryItem, known: Names) -> Item:
    reserved = item.reserved_session_id
    return Item(
        id=item.pk,
        name=known.piece(item.item_template_id, item.properties),
        quantity=item.quantity,
        slot=visible(item.slot or ""),
        is_equipped=item.is_equipped,
        durability=f"{item.durability} / {item.max_durability or '—'}"
        if item.durability is not None
        else "",
        reserved_url=combats_url(reserved) if reserved else "",
        origin=_origin(item),
    )


def _origin(item: InventoryItem) -> SafeString | str:
    if item.origin_session_id:
        return session_link(item.origin_session_id)
    if item.origin_operation:
        return visible(item.origin_operation)
    return gettext("came with the character")


def _parked(row: ParkedOperation) -> Parked:
    return Parked(
        at=row.parked_at,
        id=row.pk,
        op_id=visible(row.op_id),
        scope=visible(row.scope),
        label=explained(row.code).label,
        operation=pretty(row.operation),
    )


def _of_lack(lack: SettlementDiscrepancy, known: Names) -> Refusal:
    told = dossier.lack_of(lack, known)
    amounts = gettext("wanted %(wanted)d, applied %(applied)d") % {
        "wanted": told.wanted,
        "applied": told.applied,
    }
    return Refusal(
        at=lack.recorded_at,
        where=session_link(lack.session_id),
        label=told.label,
        meaning=told.meaning,
        remedy="",
        what=f"{told.subject}: {amounts}" if told.subject else amounts,
    )


SOURCES: dict[str, str | _StrPromise] = {
    "combats": CombatHistory._meta.verbose_name_plural or "",
    "discrepancies": SettlementDiscrepancy._meta.verbose_name_plural or "",
    "parked": ParkedOperation._meta.verbose_name_plural or "",
    "rejected": RejectedPayload._meta.verbose_name_plural or "",
}
"""Where something may stand that a player did not get."""

WAITS = explain.Explanation(_("not settled yet"), _("The fight waits to be settled."))
VOIDED = explain.Explanation(
    _("voided"), _("It was decided that this fight will never be settled.")
)
UNDONE_BY_ADMIN = explain.Explanation(
    UNDONE, _("What the fight gave and took was undone by counter-lines.")
)


def _of_combat(row: Any, known: Names) -> Refusal:
    match row.settlement_status:
        case Status.FAILED:
            words = explain.failure(row.failure_code or "")
        case Status.VOIDED:
            words = VOIDED
        case Status.PENDING:
            words = WAITS
        case _:
            words = UNDONE_BY_ADMIN
    return Refusal(
        at=row.finished_at,
        where=session_link(row.pk),
        label=words.label,
        meaning=words.meaning,
        remedy=words.remedy,
        what=sides.promise(row.document_part, known),
    )


def _of_parked(row: ParkedOperation) -> Refusal:
    words = explained(row.code)
    return Refusal(
        at=row.parked_at,
        where=visible(row.op_id),
        label=words.label,
        meaning=words.meaning,
        remedy=words.remedy,
        what=visible(str(row.operation.get("op", "")))
        if isinstance(row.operation, dict)
        else "",
    )


def _of_rejected(row: RejectedPayload) -> Refusal:
    words = explain.failure(row.code)
    url = reverse("admin:combat_history_rejectedpayload_change", args=[row.pk])
    seen = ngettext("seen %(count)d time", "seen %(count)d times", row.times_seen)
    return Refusal(
        at=row.received_at,
        where=session_search(row.session_id) if row.session_id else EMPTY,
        label=words.label,
        meaning=words.meaning,
        remedy=words.remedy,
        what=format_html(
            '<a href="{}">{} #{}</a>, {}',
            url,
            gettext("rejected payload"),
            row.pk,
            seen % {"count": row.times_seen},
        ),
    )
