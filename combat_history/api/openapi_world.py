"""The description of the calls about characters and the catalogue."""

from __future__ import annotations

from combat_history.api.openapi_parts import (
    ID,
    Json,
    answer,
    character_id,
    needs,
    parameter,
    problems_of,
    ref,
)
from combat_history.api.world import DEFAULT_LIMIT, MAX_LIMIT
from combat_history.callers import Scope
from persistence.contract.changes import BALANCE_ID
from persistence.contract.world import ITEM_ID


def paths() -> Json:
    return {
        "/api/characters/{character_id}": {"get": _character(), "put": _register()},
        "/api/characters/{character_id}/ledger": {"get": _ledger()},
        "/api/items/{item_id}": {"put": _item()},
        "/api/balances/{balance_id}": {"put": _balance()},
    }


def _character() -> Json:
    return {
        "operationId": "getCharacter",
        "security": needs(Scope.RESULTS_READ),
        "summary": "A character as PostgreSQL has it",
        "parameters": [character_id()],
        "responses": {
            "200": answer("What it has.", "CharacterState"),
            **problems_of("400", "404"),
        },
    }


def _register() -> Json:
    return _put(
        "registerCharacter",
        "Make a character, or rename one",
        "Harmless to repeat. `opening` counts where the call makes the character, and "
        "never again: what moves from then on is an operation or a fight.",
        character_id(),
        body="Registration",
        told="CharacterState",
        refused="`external_id_taken`: it is another character's. `unknown_item`, "
        "`unknown_balance`: what it comes with is not in the catalogue.",
    )


def _item() -> Json:
    return _put(
        "putItem",
        "Keep a kind of item in the catalogue",
        "Harmless to repeat. Loot is found by its id, or by either name.",
        parameter("item_id", "path", {"type": "string", "pattern": ITEM_ID}, ""),
        body="ItemKind",
        told="ItemKindState",
        refused="`name_taken`: another item has that name. `in_use`: somebody owns "
        "one, and `stackable` would change.",
    )


def _balance() -> Json:
    return _put(
        "putBalance",
        "Keep a kind of named balance in the catalogue",
        "Harmless to repeat. New bounds hold for what moves from now on.",
        parameter("balance_id", "path", {"type": "string", "pattern": BALANCE_ID}, ""),
        body="BalanceKind",
        told="BalanceKindState",
    )


def _ledger() -> Json:
    number = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    return {
        "operationId": "listCharacterLedger",
        "security": needs(Scope.RESULTS_READ),
        "summary": "What fights and operations moved of a character, newest first",
        "parameters": [
            character_id(),
            parameter(
                "limit",
                "query",
                {**number, "default": DEFAULT_LIMIT},
                "Lines of one page.",
            ),
            parameter("cursor", "query", ID, "From `next`."),
        ],
        "responses": {
            "200": answer("One page.", "LedgerPage", headers=("Link",)),
            **problems_of("400"),
        },
    }


def _put(
    name: str,
    summary: str,
    description: str,
    where: Json,
    *,
    body: str,
    told: str,
    refused: str | None = None,
) -> Json:
    conflict = {}
    if refused is not None:
        conflict = {"409": {**problems_of("409")["409"], "description": refused}}
    return {
        "operationId": name,
        "security": needs(Scope.CHARACTERS_WRITE),
        "summary": summary,
        "description": description,
        "parameters": [where],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(body)}},
        },
        "responses": {
            "200": answer("It was there; it is so now.", told),
            "201": answer("It is new.", told),
            **problems_of("400", "413", "422"),
            **conflict,
        },
    }
