"""A fresh sign-in before what takes from players, gives, or makes others do so.

Who left a browser open, or lost a session's cookie, has not left that open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from combat_history.actions.sign_in import is_fresh

View = Callable[..., HttpResponseBase]


def freshly(view: View, permission: str | None) -> View:
    """The view, for who has the permission only after a sign-in of these minutes.

    Others are left to the view, which refuses them and says so in the audit.
    """
    if permission is None:
        return view

    def ask_first(request: HttpRequest, *args: Any, **named: Any) -> HttpResponseBase:
        if is_fresh(request) or not request.user.has_perm(permission):
            return view(request, *args, **named)
        return sign_in_again(request)

    return ask_first


def sign_in_again(request: HttpRequest) -> HttpResponseRedirect:
    after = urlencode({"next": request.get_full_path()})
    return HttpResponseRedirect(f"{reverse('sign_in_again')}?{after}")


class SignInAgain(LoginView):
    """The sign-in's own page, also for who is signed in."""

    template_name = "admin/login.html"
    authentication_form = AdminAuthenticationForm

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def get_initial(self) -> dict[str, Any]:
        return {"username": self.request.user.get_username()}

    def get_context_data(self, **named: Any) -> dict[str, Any]:
        context = {
            **super().get_context_data(**named),
            **admin.site.each_context(self.request),
            "title": _("Give your password once more"),
        }
        # Django's page would say that this user may not come in.
        return {**context, "user": None}
