"""With engine keys configured, operations count that an engine signed for a player."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from combat_history.actions import parked as actions
from combat_history.models import ParkedOperation
from persistence.contract.document import Document
from persistence.contract.errors import OperationInvalid
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from tests.support.documents import HERO, PELT, POTION, op
from tests.support.factories import add_character
from tests.support.operations import parked, pieces, queue, queued, rows, save

KEYS = EngineKeys.parse("new:a-new-secret-of-ours,old:an-old-secret-of-ours")
OLD = EngineKeys.parse("old:an-old-secret-of-ours")
OTHERS = EngineKeys.parse("new:what-a-forger-guesses")

GROW = op("grow", "add", item_template_id=PELT, qty=3)
DRINK = op("drink", "remove", inventory_id=POTION, qty=2)

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> None:
    settings.SETTLEMENT_ENGINE_KEYS = KEYS


@pytest.fixture
def signing(settings: Settings) -> Iterator[SyncDispatcher]:
    dispatcher = SyncDispatcher(
        settings.REDIS_URL, settings.BROKER_URL, timeout=1, keys=KEYS
    )
    yield dispatcher
    dispatcher.close()


def codes() -> list[str]:
    return [row.code for row in ParkedOperation.objects.order_by("id")]


def test_the_dispatcher_signs_by_itself(signing: SyncDispatcher) -> None:
    signing.change_inventory_sync(HERO, [GROW, DRINK])
    save()

    assert (pieces(PELT), rows()[POTION][1], parked(), queued()) == (3, 3, {}, [])


def test_every_key_verifies() -> None:
    queue(OLD.sign_operation(HERO, GROW))
    save()

    assert (pieces(PELT), parked()) == (3, {})


@pytest.mark.parametrize(
    "forged",
    [
        GROW,
        {**GROW, "signature": None},
        {**GROW, "signature": 7},
        {**GROW, "signature": "new:"},
        OTHERS.sign_operation(HERO, GROW),
        {**KEYS.sign_operation(HERO, GROW), "qty": 1000},
        KEYS.sign_operation(102, GROW),
        {"op_id": "admin:1", **{k: v for k, v in GROW.items() if k != "op_id"}},
    ],
)
def test_what_is_not_signed_for_the_player_is_parked(forged: Document) -> None:
    queue(forged)
    save()
    save()

    assert (pieces(PELT), codes(), queued()) == (0, ["bad_signature"], [])
    assert "signature" not in ParkedOperation.objects.get().operation


def test_a_forger_takes_no_name_and_holds_nothing_up() -> None:
    queue({**DRINK, "qty": 1}, {**DRINK, "qty": 5}, KEYS.sign_operation(HERO, DRINK))
    save()
    queue({**GROW, "qty": 99})
    save()
    queue(KEYS.sign_operation(HERO, GROW))
    save()

    assert (pieces(PELT), rows()[POTION][1]) == (3, 3)
    assert codes() == ["bad_signature"] * 3


def test_a_person_may_retry_what_is_not_signed() -> None:
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename="replay_parkedoperation")
    )
    queue(GROW)
    save()

    pks = list(ParkedOperation.objects.values_list("pk", flat=True))
    actions.retry(pks, actor=user, reason="the key was late")
    save()

    assert (pieces(PELT), parked()) == (3, {})


def test_a_signed_operation_is_of_one_player() -> None:
    add_character(102)
    queue(KEYS.sign_operation(HERO, GROW), char_id=102)
    save(102)

    assert (pieces(PELT, 102), codes()) == (0, ["bad_signature"])


def test_the_reserved_name_is_refused_of_an_engine(signing: SyncDispatcher) -> None:
    with pytest.raises(OperationInvalid, match="admin:"):
        signing.change_inventory_sync(HERO, [{**GROW, "op_id": "admin:1"}])


def test_the_reserved_name_is_refused_without_keys(settings: Settings) -> None:
    settings.SETTLEMENT_ENGINE_KEYS = EngineKeys({})
    queue({**GROW, "op_id": "admin:1"}, json.dumps(GROW).encode())
    save()

    assert (pieces(PELT), codes()) == (3, ["bad_signature"])
