from __future__ import annotations

from django.urls import path, re_path

from combat_history.api import fights, views, world

app_name = "api"

urlpatterns = [
    path("combats", views.combats, name="combats"),
    path("combats/<str:session_id>/result", views.result, name="result"),
    path("combats/<str:session_id>/belts", views.combat_belts, name="combat_belts"),
    path("combats/<str:session_id>/start", fights.start, name="start"),
    path("combats/<str:session_id>/heartbeat", fights.heartbeat, name="heartbeat"),
    path("combats/<str:session_id>/use", fights.use, name="use"),
    path("combats/<str:session_id>/join", fights.join, name="join"),
    path("combats/<str:session_id>/leave", fights.leave, name="leave"),
    path("combats/<str:session_id>/finish", fights.finish, name="finish"),
    path("characters/<str:character_id>/context", fights.context, name="context"),
    path(
        "characters/<str:character_id>/combats",
        views.character_combats,
        name="character_combats",
    ),
    path(
        "characters/<str:character_id>/belt",
        views.character_belt,
        name="character_belt",
    ),
    path("characters/<str:character_id>/ledger", world.ledger, name="ledger"),
    path("characters/<str:character_id>", world.character, name="character"),
    path("items/<str:item_id>", world.put_item, name="item"),
    path("balances/<str:balance_id>", world.put_balance, name="balance"),
    path("operations", views.operations, name="operations"),
    path("events", views.event_page, name="events"),
    path("openapi.json", views.description, name="openapi"),
    re_path(r"^", views.not_found, name="not_found"),
]
