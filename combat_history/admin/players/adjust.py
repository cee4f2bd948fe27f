"""The page on which a player's inventory is corrected.

A GET only shows, also what a correction would do; `combat_history.actions.adjust` acts,
and checks the permission again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from pydantic_core import from_json

from combat_history.actions.adjust import (
    FAILURES,
    PERMISSION,
    NothingToCorrect,
    RowChange,
    adjust,
    check,
)
from combat_history.admin.base import Page, actor_of
from combat_history.admin.forms import ReasonForm
from combat_history.admin.naming import Names, combats_url, names, player_url
from combat_history.admin.players.adjust_form import WishForm
from combat_history.admin.rendering import EMPTY, visible
from combat_history.admin.review.parked_codes import explained
from combat_history.insight.player_page import inventory
from combat_history.models import Character, InventoryItem, ItemTemplate
from persistence.contract.document import Document
from persistence.contract.errors import ItemReserved, OperationInvalid
from persistence.contract.ids import short_id
from persistence.savers.inventory.bag import Refused

TEMPLATE = "admin/combat_history/character/inventory.html"

MAX_OFFERED = 300
"""Templates that the browser proposes; of a larger catalogue any other is typed."""


MAX_CHARACTERS = 10_000
"""How long the operations of one correction may be; they take some four hundred."""


class ConfirmForm(ReasonForm):
    """`operations`: as JSON, what the page has shown and what runs."""

    operations = forms.CharField(
        max_length=MAX_CHARACTERS, strip=False, widget=forms.HiddenInput
    )

    def clean_operations(self) -> list[Document]:
        try:
            found = from_json(self.cleaned_data["operations"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not isinstance(found, list):
            raise forms.ValidationError("a list of operations is expected")
        return found


def adjust_url(request: HttpRequest, player: Character) -> str | None:
    """Where the button leads; None where this user cannot correct the inventory."""
    if not request.user.has_perm(PERMISSION):
        return None
    return reverse("admin:combat_history_character_inventory", args=[player.pk])


class InventoryPage(Page):
    route = "<int:pk>/inventory/"
    name = "inventory"
    fresh_for = PERMISSION

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        pk: int = named["pk"]
        if not self.may_act(request, PERMISSION):
            _adjust(request, pk, [])
            raise PermissionDenied
        try:
            player = Character.objects.get(pk=pk)
        except (Character.DoesNotExist, OverflowError):
            raise Http404 from None
        if request.method != "POST":
            return self._asked(request, player)
        form = ConfirmForm(request.POST)
        is_valid = form.is_valid()
        operations = form.cleaned_data.get("operations", [])
        if is_valid and _adjust(request, pk, operations):
            return HttpResponseRedirect(player_url(pk))
        # With the same op_id: sent again, it is still one correction.
        seen = {"form": form, **_seen(pk, operations)}
        return self._page(request, player, seen)

    def _asked(self, request: HttpRequest, player: Character) -> HttpResponse:
        """What the address asks for, or a form to ask."""
        if "what" not in request.GET:
            row = request.GET.get("row", "")[:20]
            wish = WishForm(player.pk, initial={"row": row})
            return self._page(request, player, {"wish": wish})
        wish = WishForm(player.pk, request.GET)
        if not wish.is_valid():
            return self._page(request, player, {"wish": wish})
        operations = wish.operations(f"admin:{uuid4()}")
        form = ConfirmForm(initial={"operations": json.dumps(operations)})
        seen = {"wish": wish, "form": form, **_seen(player.pk, operations)}
        return self._page(request, player, seen)

    def _page(
        self, request: HttpRequest, player: Character, seen: dict[str, Any]
    ) -> HttpResponse:
        items, more_items = inventory(player.pk)
        known = names([], [item.item_template_id for item in items])
        context = {
            **self.context(request),
            "title": _("Correct the inventory"),
            "short_id": f"{visible(player.name)} ({player.pk})",
            "back_url": player_url(player.pk),
            "here": self.url(player.pk),
            "items": [_item(item, known) for item in items],
            "more_items": more_items,
            "offered": _offered() if "wish" in seen else [],
            **seen,
        }
        return TemplateResponse(request, TEMPLATE, context)


def _adjust(request: HttpRequest, pk: int, operations: Sequence[Document]) -> bool:
    """Whether it is in the queue now, or was before."""
    reason = request.POST.get("reason", "")
    try:
        changes = adjust(pk, operations, actor=actor_of(request), reason=reason)
    except (*FAILURES, NothingToCorrect, OperationInvalid) as error:
        messages.error(request, _words(error))
        return False
    if changes is None:
        text = gettext("This very correction was queued before: it applies once.")
        messages.warning(request, text)
    else:
        text = gettext("The correction is queued: %s. A worker applies it.")
        lines = _lines(changes)
        messages.success(request, text % "; ".join(lines))
    return True


def _seen(char_id: int, operations: Sequence[Document]) -> dict[str, Any]:
    """What they would do now, or why not, for the page."""
    try:
        return {"changes": _lines(check(char_id, operations))}
    except (Refused, NothingToCorrect, OperationInvalid) as error:
        return {"refused": _words(error)}


def _words(error: Exception) -> str:
    match error:
        case NothingToCorrect():
            return gettext("Nothing is to be corrected: the inventory is so already.")
        case Refused() | ItemReserved():
            words = explained(error.code)
            detail = error.detail if isinstance(error, Refused) else str(error)
            told = f"{words.label}. {words.meaning} ({visible(detail)})"
        case OperationInvalid():
            told = visible(str(error))
        case _:
            return gettext(
                "Nobody confirmed the correction: %s. Send it again: however often it "
                "is sent, it is applied once."
            ) % visible(str(error))
    return gettext("Nothing was changed: %s") % told


def _lines(changes: Sequence[RowChange]) -> list[str]:
    """Each row, before → after."""
    known = names([], [change.item_template_id for change in changes])
    return [_line(change, known) for change in changes]


def _line(change: RowChange, known: Names) -> str:
    before, after = change.before, change.after
    row = gettext("a new row") if change.row_id is None else f"#{change.row_id}"
    parts = []
    counts = (before.quantity if before else 0, after.quantity if after else 0)
    if counts[0] != counts[1]:
        parts.append(f"{counts[0]} → {counts[1]}")
    worn = (before.durability if before else None, after.durability if after else None)
    if after is not None and worn[0] != worn[1]:
        shown = " → ".join(EMPTY if value is None else str(value) for value in worn)
        parts.append(f"{gettext('durability')} {shown}")
    if after is None:
        parts.append(gettext("row removed"))
    return f"{known.item(change.item_template_id)} {row}: {', '.join(parts)}"


def _item(item: InventoryItem, known: Names) -> dict[str, Any]:
    reserved = item.reserved_session_id
    limit = EMPTY if item.max_durability is None else item.max_durability
    return {
        "id": item.pk,
        "name": known.item(item.item_template_id),
        "quantity": item.quantity,
        "slot": visible(item.slot or ""),
        "durability": "" if item.durability is None else f"{item.durability} / {limit}",
        "reserved_url": combats_url(reserved) if reserved else "",
        "reserved_for": short_id(reserved) if reserved else "",
    }


def _offered() -> list[tuple[str, str]]:
    rows = ItemTemplate.objects.order_by("pk").values_list("pk", "name", "name_en")
    return [
        (id_, " / ".join(visible(name) for name in (russian, english) if name))
        for id_, russian, english in rows[:MAX_OFFERED]
    ]
