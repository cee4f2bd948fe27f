"""Django's own forms, audited: what was added or changed, and what was refused."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.admin.base import BoundedAdmin, actor_of


class AuditedForms(BoundedAdmin):
    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        """In the form's transaction, so that neither is there without the other."""
        super().save_model(request, obj, form, change)
        names = form.changed_data
        before = {name: form.initial.get(name) for name in names} if change else None
        after = {name: form.cleaned_data[name] for name in names}
        act = Act(str(obj.pk), Outcome.DONE, before=before, after=after)
        audit.record(actor_of(request), self._verb(change), self._target(), [act], "")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        change = object_id is not None
        may = self.has_change_permission if change else self.has_add_permission
        if request.method == "POST" and not may(request):
            named = [object_id or "new"]
            audit.deny(actor_of(request), self._verb(change), self._target(), named, "")
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _verb(self, change: bool) -> str:
        return "change" if change else "add"

    def _target(self) -> str:
        return str(self.opts.model_name)
