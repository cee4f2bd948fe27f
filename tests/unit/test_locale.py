"""The Russian catalogue: complete, compiled, and with every placeholder in place."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation.template import templatize

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("combat_history", "persistence", "settlement_project", "demo")
LOCALE = PROJECT_ROOT / "settlement_project" / "locale"
CATALOGUE = LOCALE / "ru" / "LC_MESSAGES" / "django.po"

TAKES_TEXT = frozenset({"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"})
LINE = re.compile(r'([\w\[\]]+ )?(".*")')
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]")

Translations = dict[str, list[str]]
"""Source text -> its translation, in as many plural forms as it has."""


def read_po(text: str) -> Translations:
    """A reader of what msgfmt compiles: no fuzzy, no obsolete entries, no contexts."""
    found: Translations = {}
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        assert "#, fuzzy" not in block, block
        values: dict[str, str] = {}
        key = ""
        for line in lines:
            match = LINE.fullmatch(line)
            assert match, line
            keyword, quoted = match.groups()
            key = keyword.strip() if keyword else key
            values[key] = values.get(key, "") + ast.literal_eval(quoted)
        source = values.pop("msgid")
        values.pop("msgid_plural", None)
        assert source not in found, source
        found[source] = [values[name] for name in sorted(values)]
    return found


def read_mo(path: Path) -> Translations:
    catalogue: dict[str | tuple[str, int], str]
    with path.open("rb") as file:
        catalogue = vars(gettext.GNUTranslations(file))["_catalog"]
    found: Translations = {}
    for key in sorted(catalogue, key=lambda k: k if isinstance(k, tuple) else (k, 0)):
        source = key[0] if isinstance(key, tuple) else key
        found.setdefault(source, []).append(catalogue[key])
    return found


def texts_of_code(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in TAKES_TEXT:
            text = node.args[0]
            assert isinstance(text, ast.Constant), ast.unparse(node)
            yield str(text.value)


def texts_of_template(source: str) -> Iterator[str]:
    """As `makemessages` reads a template: as code of gettext calls."""
    for literal in re.findall(
        r"gettext\(u((?:'(?:\\.|[^'])*')|(?:\"(?:\\.|[^\"])*\"))", templatize(source)
    ):
        yield ast.literal_eval(literal)


def texts_of_project() -> set[str]:
    found: set[str] = set()
    for package in PACKAGES:
        for path in (PROJECT_ROOT / package).rglob("*"):
            if path.suffix == ".py":
                found.update(texts_of_code(path.read_text(encoding="utf-8")))
            elif path.suffix == ".html":
                found.update(texts_of_template(path.read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="module")
def russian() -> Translations:
    translations = read_po(CATALOGUE.read_text(encoding="utf-8"))
    translations.pop("")
    return translations


def test_extraction_sees_code_and_templates() -> None:
    texts = texts_of_project()
    assert {"unknown item", "pending", "What the combat changed"} <= texts
    assert {"%(count)d combat was put back into the queue.", "Go back"} <= texts
    assert "… and %(count)s more" in texts


def test_every_text_has_a_russian_translation(russian: Translations) -> None:
    texts = texts_of_project()
    missing = {text for text in texts if not all(russian.get(text, [""]))}
    assert missing == set()
    assert set(russian) - texts == set(), "translated, but used nowhere"


def test_compiled_catalogue_is_that_of_the_source() -> None:
    source = read_po(CATALOGUE.read_text(encoding="utf-8"))
    assert read_mo(CATALOGUE.with_suffix(".mo")) == source, "run compilemessages"


def test_translations_keep_every_placeholder(russian: Translations) -> None:
    for source, forms in russian.items():
        wanted = sorted(PLACEHOLDER.findall(source))
        assert all(sorted(PLACEHOLDER.findall(form)) == wanted for form in forms), (
            source
        )


def test_russian_plurals_have_four_forms(russian: Translations) -> None:
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    told = {
        n: catalogue.ngettext(
            "%(count)d combat was put back into the queue.", "unused", n
        )
        % {"count": n}
        for n in (1, 2, 5, 11, 21, 22)
    }
    assert told == {
        1: "1 бой снова поставлен в очередь.",
        2: "2 боя снова поставлены в очередь.",
        5: "5 боёв снова поставлены в очередь.",
        11: "11 боёв снова поставлены в очередь.",
        21: "21 бой снова поставлен в очередь.",
        22: "22 боя снова поставлены в очередь.",
    }
    assert {len(forms) for forms in russian.values()} == {1, 4}
