"""`import_catalogue` and `import_characters`: good lines are taken, bad ones told."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from combat_history.management import importing
from combat_history.models import (
    BalanceTemplate,
    Character,
    ExternalId,
    InventoryItem,
    ItemTemplate,
    NamedBalance,
)
from combat_history.reconcile.run import reconcile
from tests.support.documents import PELT
from tests.support.factories import add_balance

pytestmark = pytest.mark.usefixtures("world")

COMPLAINT = "lines are wrong; mend them and bring the file in again"


def bring(command: str, file: Path, *options: str) -> tuple[str, str]:
    """Output and complaints. Raises CommandError where a line was wrong."""
    out, err = StringIO(), StringIO()
    try:
        call_command(command, str(file), *options, stdout=out, stderr=err)
    except CommandError as error:
        if COMPLAINT not in str(error):
            raise
        err.write(f"{error}\n")
    return out.getvalue(), err.getvalue()


def lines(file: Path, *said: object) -> Path:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in said]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def test_characters_come_with_what_they_have(tmp_path: Path) -> None:
    add_balance("dust")
    opening = {"gold": 5, "balances": {"dust": 2}}
    opening |= {"items": [{"item_template_id": PELT, "qty": 3}]}
    file = lines(
        tmp_path / "players.jsonl",
        {"id": 9001, "name": "Вера", "external_ids": {"telegram": "1"}},
        "",
        {"id": 9002, "name": "Олег", "opening": opening},
    )

    said, _ = bring("import_characters", file)

    assert said == "2 lines: 2 new, 0 known, 0 wrong\n"
    oleg = Character.objects.get(pk=9002)
    assert (oleg.name, oleg.gold) == ("Олег", 5)
    assert NamedBalance.objects.get(character=oleg).amount == 2
    assert InventoryItem.objects.get(character=oleg).quantity == 3
    assert not reconcile().findings

    assert bring("import_characters", file)[0] == "2 lines: 0 new, 2 known, 0 wrong\n"
    assert InventoryItem.objects.filter(character=oleg).count() == 1


def test_a_table_has_a_column_for_each_thing(tmp_path: Path) -> None:
    add_balance("dust")
    file = lines(
        tmp_path / "players.csv",
        "id,name,external:telegram,gold,balance:dust,location",
        '9001,"Вера, лучница",55,7,3,Роща',
        "9002,Олег,,,,",
        "9003,Пётр,56,семь,,",
        "9004,Яна,57,1,,,лишнее",
    )

    said, complaints = bring("import_characters", file)

    assert said == "4 lines: 2 new, 0 known, 2 wrong\n"
    assert "line 4, id: gold: 'семь' is no whole number" in complaints
    assert "line 5, id: has more fields than there are columns" in complaints
    vera = Character.objects.get(pk=9001)
    assert (vera.name, vera.gold, vera.location) == ("Вера, лучница", 7, "Роща")
    assert ExternalId.objects.get().character_id == 9001


def test_each_bad_line_is_told_and_keeps_no_other_out(tmp_path: Path) -> None:
    taken = {"telegram": "1"}
    file = lines(
        tmp_path / "players.jsonl",
        {"id": 9001, "name": "Вера", "external_ids": taken},
        {"id": 9002, "name": "Олег", "external_ids": taken},
        {"id": 0, "name": "Никто"},
        {"id": 9003, "name": ""},
        {"id": 9001, "name": "Вера"},
        {"id": 9004, "name": "Яна", "opening": {"balances": {"moon": 1}}},
        "{",
        "[1]",
        {"id": "9005", "name": "Пётр"},
    )

    said, complaints = bring("import_characters", file)

    assert said == "9 lines: 2 new, 0 known, 7 wrong\n"
    found = set(Character.objects.filter(pk__gt=9000).values_list("pk", flat=True))
    assert found == {9001, 9005}
    for line in (
        "line 2, external_ids.telegram: is the one of character 9001",
        "line 3, id: 0 is no player",
        "line 4, name: String should have at least 1 character",
        "line 5, id: line 1 has the same id",
        "line 6, opening.balances: moon is not in the catalogue",
        "line 7, id: is no JSON",
        "line 8, id: is no JSON object",
    ):
        assert line in complaints


def test_a_rehearsal_writes_nothing_and_a_stopped_import_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 2)
    said = [{"id": 9000 + n, "name": f"Player {n}"} for n in range(1, 6)]
    file = lines(tmp_path / "players.jsonl", *said)

    told, _ = bring("import_characters", file, "--dry-run")
    assert told == "5 lines: 5 would be new, 0 known, 0 wrong\n"
    assert not Character.objects.filter(pk__gt=9000).exists()

    told, _ = bring("import_characters", file, "--from-line", "4")
    assert told == "2 lines: 2 new, 0 known, 0 wrong\n"


def test_the_catalogue_has_items_and_balances(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "catalogue.csv",
        "kind,id,name,name_en,stackable,max_durability,floor,maximum",
        "item,moon_dust,Лунная пыль,Moon dust,,,,",
        "item,mace,Булава,Mace,no,40,,",
        "balance,rating:pvp,Рейтинг,,,,-100,",
        "item,other,Шкура волка,,,,,",
        "item,maybe,Может быть,,perhaps,,,",
        "fish,pike,Щука,,,,,",
        "balance,a b,Плохой,,,,,",
    )

    said, complaints = bring("import_catalogue", file)

    assert said == "7 lines: 3 new, 0 known, 4 wrong\n"
    mace = ItemTemplate.objects.get(pk="mace")
    assert (mace.stackable, mace.max_durability) == (False, 40)
    assert BalanceTemplate.objects.get(pk="rating:pvp").floor == -100
    for line in (
        f"line 5, name: is the name of item {PELT}",
        "line 6: stackable: 'perhaps' is neither true nor false",
        "line 7: kind: 'fish' is neither item nor balance",
        "line 8: id: 'a b' is none",
    ):
        assert line in complaints


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        bring("import_characters", tmp_path / "nowhere.csv")
