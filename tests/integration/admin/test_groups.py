"""`manage.py create_groups`: who may do what."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from combat_history.management.commands.create_groups import (
    GAME_ADMIN,
    OPERATOR,
    SUPPORT,
)

pytestmark = pytest.mark.django_db

MAY_ACT = {
    "Support": set(SUPPORT),
    "Game admin": set(GAME_ADMIN),
    "Operator": set(OPERATOR),
}


@pytest.mark.parametrize("name", MAY_ACT)
def test_a_group_may_look_at_everything_and_do_what_it_is_for(name: str) -> None:
    call_command("create_groups", verbosity=0)
    call_command("create_groups", verbosity=0)

    user = User.objects.create_user("anna", is_staff=True)
    user.groups.add(Group.objects.get(name=name))

    user = User.objects.get(pk=user.pk)
    codes = {p.removeprefix("combat_history.") for p in user.get_all_permissions()}
    assert {code for code in codes if not code.startswith("view_")} == MAY_ACT[name]
    assert {"view_combathistory", "view_auditentry", "view_replaybatch"} <= codes
    assert not any(code.startswith("delete_") for code in codes)


def test_a_permission_that_was_given_beside_is_taken_back() -> None:
    call_command("create_groups", verbosity=0)
    support = Group.objects.get(name="Support")
    support.permissions.add(*Group.objects.get(name="Operator").permissions.all())

    call_command("create_groups", verbosity=0)

    others = support.permissions.exclude(codename__startswith="view_")
    assert [permission.codename for permission in others] == list(SUPPORT)
