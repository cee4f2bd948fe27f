"""The site's own users and groups, as strict about addresses as the other lists.

What is changed here the signals of `combat_history.actions.user_audit` write down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import admin as stock
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from combat_history.actions.sign_in import is_fresh
from combat_history.admin.base import StrictAdmin
from combat_history.admin.fresh import View, sign_in_again

if TYPE_CHECKING:
    StockUserAdmin = stock.UserAdmin[User]
else:
    StockUserAdmin = stock.UserAdmin

LISTS = ("_changelist", "_history")
"""Pages that only show; a POST to a list deletes what was selected."""


class FreshAdmin(StrictAdmin):
    """Every page but the lists asks for a fresh sign-in."""

    def get_urls(self) -> list[URLPattern]:
        urls = super().get_urls()
        for url in urls:
            url.callback = _freshly(url.callback, (url.name or "").endswith(LISTS))
        return urls


def _freshly(view: View, is_list: bool) -> View:
    def ask_first(request: HttpRequest, *args: Any, **named: Any) -> HttpResponseBase:
        only_shows = is_list and request.method == "GET"
        if only_shows or not request.user.is_staff or is_fresh(request):
            return view(request, *args, **named)
        return sign_in_again(request)

    return ask_first


class UserAdmin(FreshAdmin, StockUserAdmin):
    pass


class GroupAdmin(FreshAdmin, stock.GroupAdmin):
    pass


def register() -> None:
    """In place of Django's, which were registered by the import above."""
    admin.site.unregister([User, Group])
    admin.site.register(User, UserAdmin)
    admin.site.register(Group, GroupAdmin)
