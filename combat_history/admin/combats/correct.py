"""The page that corrects a failed combat's document. Only a POST with `apply` acts.

`combat_history.actions.correct` checks the permission again, and writes the audit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import correct
from combat_history.actions.dry_run import dry_run_of
from combat_history.actions.replay import PERMISSION as REPLAY_PERMISSION
from combat_history.actions.replay import replay
from combat_history.admin.combats import dossier
from combat_history.admin.combats.combat_page import CombatPage
from combat_history.admin.combats.preview import dry_run_context
from combat_history.admin.forms import DocumentForm
from persistence.contract.document import Document, parse_strictly
from persistence.contract.errors import PayloadInvalid

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CorrectPage(CombatPage):
    route = "<uuid:session_id>/correct/"
    name = "correct"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        session_id: UUID = named["session_id"]
        may_correct = self.may_act(request, correct.PERMISSION)
        try:
            standing = correct.standing_document(session_id)
        except correct.NotCorrectable as error:
            raise Http404(str(error)) from None
        if not may_correct:
            return self._correct(request, session_id, {})
        context = self.combat_context(request, session_id, _("Correct and replay"))
        if request.method == "POST":
            form = DocumentForm(request.POST)
            document = _read(request, session_id, context)
            if document is not None and form.is_valid() and "apply" in request.POST:
                return self._correct(request, session_id, document)
        else:
            text = json.dumps(standing, indent=2, ensure_ascii=False)
            form = DocumentForm(initial={"document": text})
        template = "admin/combat_history/combathistory/correct.html"
        return TemplateResponse(request, template, {**context, "form": form})

    def _correct(
        self, request: HttpRequest, session_id: UUID, document: Document
    ) -> HttpResponse:
        def act(actor: User, reason: str) -> str:
            correct.correct(session_id, document, actor=actor, reason=reason)
            if not actor.has_perm(REPLAY_PERMISSION):
                return gettext("The correction is written. Replaying it is for others.")
            replay([session_id], actor=actor, reason=reason)
            return gettext("The correction is written and was put into the queue.")

        return self.act(request, session_id, act)


def _read(
    request: HttpRequest, session_id: UUID, context: dict[str, Any]
) -> Document | None:
    """The document that was sent, with its difference and dry run put on the page."""
    text = request.POST.get("document", "")
    try:
        document = parse_strictly(text.encode("utf-8", "surrogatepass"))
        found = correct.check(session_id, document)
    except PayloadInvalid as error:
        context["faults"] = error.errors
        return None
    except correct.NothingToCorrect:
        context["is_same"] = True
        return None
    try:
        seen = dry_run_of(session_id, document, fail_on_shortage=False)
    except LookupError as error:
        raise Http404(str(error)) from None
    context["diff"] = dossier.differences(found)
    context.update(dry_run_context(request, seen, document))
    return document
