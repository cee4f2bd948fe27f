"""The page that voids a combat: it will never be settled. Only a POST acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import void
from combat_history.admin.combats.combat_page import CombatPage
from combat_history.admin.forms import ReasonForm
from combat_history.models import CombatHistory, Status

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class VoidPage(CombatPage):
    route = "<uuid:session_id>/void/"
    name = "void"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        session_id: UUID = named["session_id"]
        may_void = self.may_act(request, void.PERMISSION)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and (not may_void or form.is_valid()):
            return self._void(request, session_id)
        combat = CombatHistory.objects.filter(pk=session_id).first()
        if combat is None:
            raise Http404
        context = {
            **self.combat_context(request, session_id, _("Void this combat")),
            "form": form,
            "combat": combat,
            "can_be_voided": combat.settlement_status
            in (Status.PENDING, Status.FAILED),
        }
        template = "admin/combat_history/combathistory/void.html"
        return TemplateResponse(request, template, context)

    def _void(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        def act(actor: User, reason: str) -> str:
            if void.void([session_id], actor=actor, reason=reason).voided:
                return gettext("The combat is voided: it will never be settled.")
            return gettext("Nothing was voided: the combat is settled or voided.")

        return self.act(request, session_id, act)
