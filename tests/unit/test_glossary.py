"""One word per thing: the texts of both languages against `docs/glossary.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_locale import CATALOGUE, PACKAGES, PROJECT_ROOT, read_po

GLOSSARY = PROJECT_ROOT / "docs" / "glossary.md"
CODE_OF_A_PAGE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)", re.DOTALL)

LEFT = {
    r"replay logs?\b|replay viewer": "fight log",
    r"(?<!_)\bcompensat(?:e|es|ed|ing|ion)\b": "undo",
    r"counter-entr": "counter-line",
    r"shortfall": "shortage",
}
"""Words that no text, page, comment or name uses any more, and the one that does."""

STORED = re.compile(
    r"""["'](?:compensate|compensated|compensation)\b|`compensat|\bCOMPENSATION\b"""
)
"""Kinds, verbs and codes in tables, spelled as they always were."""

LEFT_IN_RUSSIAN = {
    r"рассчит|расч[её]т|провед(?:ён|ен)|проводить|обработан|применён никогда": (
        "начислить, начисление"
    ),
    r"неудавш|ошибочн|сбои": "отказ",
    r"отложенн\w+ операц|отложена": "задержанная операция",
    r"повторить (?:отложенн|задержанн|выбранные операции)": "дать новую попытку",
    r"журнал ходов": "запись боя",
    r"компенсац": "отмена боя",
    r"встречны\w+ запис": "встречная строка",
    r"недостач": "нехватка",
    r"обработчик|воркер": "исполнитель",
    r"фонов\w+ проверк": "обход",
    r"приёмник": "входящие",
    r"отменить пакет|пакет отмен": "прекратить пакет",
}

# Players, who know nothing of settlements, read texts of their own.
FOR_PLAYERS = re.compile(r"^(?:Status: |The result of the fight)")


def glossary() -> Iterator[tuple[str, set[str]]]:
    """Each word with its Russian forms."""
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| word", "| ---")):
            words, russian = (cell.strip() for cell in line.split("|")[1:3])
            for word in words.split(", "):
                yield word, set(russian.lower().split(", "))


def russian_texts() -> Iterator[tuple[str, str]]:
    for source, forms in read_po(CATALOGUE.read_text(encoding="utf-8")).items():
        if source and not FOR_PLAYERS.match(source):
            for form in forms:
                yield source, form


def written_by_us() -> Iterator[tuple[Path, str]]:
    """Code as it stands, and pages without what they quote of it."""
    for package in PACKAGES:
        for path in (PROJECT_ROOT / package).rglob("*.*"):
            is_text = path.suffix in {".py", ".html", ".lua", ".js", ".css"}
            if is_text and "migrations" not in path.parts:
                yield path, STORED.sub("", path.read_text(encoding="utf-8"))
    for path in [PROJECT_ROOT / "README.md", *(PROJECT_ROOT / "docs").rglob("*.md")]:
        yield path, CODE_OF_A_PAGE.sub("", path.read_text(encoding="utf-8"))


def test_the_glossary_is_read() -> None:
    words = dict(glossary())
    assert words["parked operation"] == {"задержанная операция"}
    assert {"replay", "retry", "undo", "snooze", "duplicate", "settlement"} <= set(
        words
    )


def test_no_russian_word_stands_for_two_things() -> None:
    meant: dict[str, str] = {}
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| word", "| ---")):
            words, russian = (cell.strip() for cell in line.split("|")[1:3])
            for form in russian.split(", "):
                assert form not in meant, (form, meant[form], words)
                meant[form] = words


def test_a_word_of_the_glossary_is_translated_as_it_says() -> None:
    said = dict(glossary())
    wrong = {
        source: (form, said[source.lower()])
        for source, form in russian_texts()
        if source.lower() in said and form.lower() not in said[source.lower()]
    }
    assert wrong == {}


@pytest.mark.parametrize("word", LEFT_IN_RUSSIAN)
def test_no_russian_text_uses_a_word_that_left(word: str) -> None:
    found = [form for _, form in russian_texts() if re.search(word, form, re.I)]
    assert found == [], f"say: {LEFT_IN_RUSSIAN[word]}"


def test_nothing_is_written_with_a_word_that_left() -> None:
    found = {
        f"{path.relative_to(PROJECT_ROOT)}: {match[0]}, say {better}"
        for path, text in written_by_us()
        for word, better in LEFT.items()
        for match in re.finditer(word, text, re.I)
    }
    assert found == set()
