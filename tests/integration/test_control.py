"""Pause, drain and resume: the command, its audit, and the banner that says so."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from combat_history.actions import mode as control
from combat_history.models import AuditEntry, SettlementControl
from persistence.contract import redis_keys
from persistence.worker import mode as modes
from persistence.worker.mode import Mode
from tests.support.admin import logged_in, viewer
from tests.support.parallel import in_threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world", "_forgotten")

REASON = "PostgreSQL gets a new disk"


@pytest.fixture
def _forgotten() -> Iterator[None]:
    """No test hears of the mode of another."""
    modes.forget()
    yield
    modes.forget()


def settlement(verb: str, reason: str = REASON) -> str:
    out = StringIO()
    words = [] if verb == "status" else ["--reason", reason]
    call_command("settlement", verb, *words, stdout=out)
    return out.getvalue()


def audited() -> list[tuple[str, str, str, str]]:
    return list(
        AuditEntry.objects.order_by("id").values_list(
            "verb", "before__mode", "after__mode", "outcome"
        )
    )


def rings() -> int:
    with redis.Redis.from_url(django_settings.BROKER_URL) as broker:
        return int(broker.llen("celery"))


def test_the_mode_is_a_row_and_each_change_is_audited(
    redis_client: redis.Redis,
) -> None:
    redis_client.zadd(redis_keys.INBOX, {"a": 0, "b": 10**14})
    assert settlement("status").splitlines() == ["running", "inbox: 2 waiting, 1 due"]

    told = settlement("pause")
    assert told.startswith("paused since ")
    assert told.splitlines()[0].endswith(f": {REASON}")
    assert modes.mode() is Mode.PAUSED
    settlement("drain")
    assert modes.mode() is Mode.DRAINING
    settlement("resume")
    assert modes.mode() is Mode.RUNNING

    assert SettlementControl.objects.count() == 1
    assert audited() == [
        ("pause", "running", "paused", "done"),
        ("drain", "paused", "draining", "done"),
        ("resume", "draining", "running", "done"),
    ]
    entry = AuditEntry.objects.latest("id")
    assert entry.reason == REASON
    assert "@" in entry.actor_name


def test_a_resume_rings() -> None:
    settlement("pause")
    assert rings() == 0
    settlement("resume")
    assert rings() == 1


def test_the_same_mode_again_keeps_who_and_when() -> None:
    settlement("pause")
    before = modes.read()
    settlement("pause", "another reason for the same")
    assert modes.read() == before
    assert [outcome for *_, outcome in audited()] == ["done", "skipped"]


@pytest.mark.parametrize("reason", ["", "   ", "too short"])
def test_without_a_reason_nothing_changes(reason: str) -> None:
    with pytest.raises(CommandError) as raised:
        settlement("pause", reason)
    assert raised.value.returncode == 2
    assert modes.read().mode is Mode.RUNNING
    assert audited() == []


def test_of_two_who_drain_and_resume_at_once_none_is_lost() -> None:
    settlement("drain")
    since = modes.read().since
    assert since is not None

    in_threads(lambda: settlement("resume"), lambda: modes.end_draining(since))

    # Whichever came first: the resume is what a person wants now.
    assert modes.read().mode is Mode.RUNNING
    assert audited()[-1][:1] == ("resume",)


def test_only_the_drain_that_ended_is_paused() -> None:
    settlement("drain")
    first = modes.read().since
    assert first is not None
    settlement("resume")
    settlement("drain")
    assert not modes.end_draining(first)
    assert modes.read().mode is Mode.DRAINING

    second = modes.read().since
    assert second is not None
    assert modes.end_draining(second)
    assert not modes.end_draining(second)
    assert modes.read().mode is Mode.PAUSED
    assert modes.read().reason.endswith(REASON)


def test_a_mode_set_elsewhere_is_heard_of() -> None:
    assert modes.mode() is Mode.RUNNING
    SettlementControl.objects.create(mode=Mode.PAUSED, actor_name="elsewhere")
    wait_until(lambda: modes.mode() is Mode.PAUSED, "the new mode is known")


def test_the_last_known_mode_holds_while_postgresql_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settlement("pause")
    assert modes.mode() is Mode.PAUSED
    monkeypatch.setattr(modes, "CACHE_SECONDS", 0)
    with monkeypatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", "1")
        assert modes.mode() is Mode.PAUSED
    connection.close()


def test_who_may_not_is_refused_and_audited() -> None:
    user = viewer()
    with pytest.raises(PermissionDenied):
        control.set_mode_as(user, Mode.PAUSED, reason=REASON)
    assert modes.read().mode is Mode.RUNNING
    assert audited() == [("pause", "running", "running", "denied")]

    user.user_permissions.add(Permission.objects.get(codename="control_settlement"))
    user = type(user).objects.get(pk=user.pk)
    assert control.set_mode_as(user, Mode.PAUSED, reason=REASON)
    assert AuditEntry.objects.latest("id").actor_id == user.pk


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


PAGES = [
    "/admin/",
    "/admin/combat_history/combathistory/",
    "/admin/password_change/",
    "/admin/combat_history/character/101/change/",
]


@pytest.mark.parametrize("url", PAGES)
def test_every_page_of_the_admin_says_that_it_is_paused(
    settings: Settings, tmp_path: Path, url: str
) -> None:
    settings.STATIC_ROOT = tmp_path
    client = logged_in(viewer())
    assert "settlement-banner" not in page(client, url)

    settlement("pause", "<script>a new disk</script>")

    shown = page(client, url)
    assert shown.count('class="settlement-banner"') == 1
    assert "Settlement is paused." in shown
    assert "&lt;script&gt;a new disk" in shown
    assert "<script>a new disk" not in shown

    settlement("drain")
    assert "Settlement is draining" in page(client, url)
    settlement("resume")
    assert "settlement-banner" not in page(client, url)


def test_a_stranger_is_not_told(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settlement("pause")
    assert "settlement-banner" not in page(Client(), "/admin/login/")
