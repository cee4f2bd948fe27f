"""The site's own users and groups, as strict about addresses as the other lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import admin as stock
from django.contrib.auth.models import Group, User

from combat_history.admin.base import StrictAdmin

if TYPE_CHECKING:
    StockUserAdmin = stock.UserAdmin[User]
else:
    StockUserAdmin = stock.UserAdmin


class UserAdmin(StrictAdmin, StockUserAdmin):
    pass


class GroupAdmin(StrictAdmin, stock.GroupAdmin):
    pass


def register() -> None:
    """In place of Django's, which were registered by the import above."""
    admin.site.unregister([User, Group])
    admin.site.register(User, UserAdmin)
    admin.site.register(Group, GroupAdmin)
