"""The bot developer's snippets do what they say."""

from __future__ import annotations

from uuid import UUID

import pytest

from persistence.contract.ids import short_id
from tests.support.api import TOKEN
from tests.support.bot_api import run_python
from tests.support.docs import snippets
from tests.support.documents import HERO
from tests.support.web import Web

PAGE = "docs/bot.md"

USE = """
import asyncio, sys
from uuid import UUID

class Engine:
    async def strike(self, *turn):
        return None

async def main():
    print(attack_button(UUID(sys.argv[1])).callback_data)
    print(dispatcher.resolve_used_update_types())
    print(await turn(Engine(), UUID(sys.argv[1]), 101))
    await dispatcher.emit_shutdown()

asyncio.run(main())
"""


@pytest.mark.usefixtures("world")
def test_snippets_of_the_bot_run(web: Web, settled: UUID) -> None:
    *of_the_bot, _ = snippets(PAGE)

    button, updates, *outcome = run_python(
        "-c",
        "\n".join([*of_the_bot, USE]),
        str(settled),
        SETTLEMENT_API_URL=web.address,
        SETTLEMENT_API_TOKEN=TOKEN,
    ).splitlines()

    assert button == f"cs|attack|{short_id(settled)}"
    assert updates == "['callback_query']"
    seed = ["Бой уже завершен!", "Победитель: Синие", "Награда: 100 золота"]
    assert outcome[:3] == seed


@pytest.mark.usefixtures("world")
def test_snippet_of_the_django_process_runs(settled: UUID) -> None:
    names: dict[str, object] = {"session_id": settled, "char_id": HERO}

    exec(snippets(PAGE)[-1], names)

    assert str(names["short"]).startswith("Бой уже завершен!\nПобедитель: Синие")
    assert names["whole"] == names["short"]
