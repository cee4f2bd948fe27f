"""`persistence.bot` and the orchestrator, in the bot's own interpreter."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from persistence.contract.ids import short_id
from tests.support.api import TOKEN
from tests.support.bot_api import BotApi, run_python
from tests.support.documents import HERO
from tests.support.web import Web

ID = UUID("0190e0a2-7c10-7000-8000-000000000101")
LONGEST_OF_THE_GAME = "c_ctrl:pick:abil:true_strike_spell"

PACK = """
import sys
from persistence.bot.router import FightButton
for action in sys.argv[2:]:
    try:
        print(data := FightButton(action=action, session_id=sys.argv[1]).pack())
        print(FightButton.unpack(data))
    except ValueError:
        print("refused")
"""


def test_button_packs_what_telegram_takes_and_reads_it_back() -> None:
    longest = "a" * 38
    actions = (LONGEST_OF_THE_GAME, longest, longest + "a", "a|b")

    told = run_python("-c", PACK, ID.hex, *actions).splitlines()

    assert told == [
        f"cs|{LONGEST_OF_THE_GAME}|{short_id(ID)}",
        f"action={LONGEST_OF_THE_GAME!r} session_id={ID!r}",
        f"cs|{longest}|{short_id(ID)}",
        f"action={longest!r} session_id={ID!r}",
        "refused",
        "refused",
    ]
    assert len(told[2]) == 64


def test_router_listens_to_presses_only_and_brings_nothing_else_along() -> None:
    told = run_python(
        "-c",
        "import sys\n"
        "from persistence.bot.router import finished_fights\n"
        "router = finished_fights(None, None)\n"
        "print(router.resolve_used_update_types())\n"
        "print([name for name in ('django', 'celery', 'redis', 'psycopg')"
        " if name in sys.modules])",
    )

    assert told.split("\n") == ["['callback_query']", "[]", ""]


def orchestrated(url: str, fight: UUID, token: str = TOKEN) -> str:
    return run_python(
        *("-m", "examples.turn_orchestrator", short_id(fight), str(HERO)),
        SETTLEMENT_API_URL=url,
        SETTLEMENT_API_TOKEN=token,
    )


@pytest.mark.usefixtures("world")
def test_orchestrator_tells_the_outcome_of_a_fight_that_is_not_there(
    web: Web, settled: UUID
) -> None:
    told = orchestrated(web.address, settled)

    seed = "Бой уже завершен!\nПобедитель: Синие\nНаграда: 100 золота\n"
    assert told.startswith(seed)
    assert orchestrated(web.address, uuid4()) == "Бой устарел или не существует\n"


@pytest.mark.usefixtures("world")
def test_misconfiguration_is_never_taken_for_an_unknown_fight(
    web: Web, shared_bot_api: BotApi
) -> None:
    apology = "Сейчас не удаётся узнать итог боя. Попробуйте чуть позже.\n"

    assert orchestrated(web.address, uuid4(), "not-the-right-token") == apology
    assert orchestrated(web.address + "/nowhere", uuid4()) == apology
    # A server that has a JSON 404 of its own.
    assert orchestrated(shared_bot_api.url, uuid4()) == apology
