from __future__ import annotations

from django.urls import path, re_path

from combat_history.api import views

app_name = "api"

urlpatterns = [
    path("combats", views.combats, name="combats"),
    path("combats/<str:session_id>/result", views.result, name="result"),
    path("combats/<str:session_id>/belts", views.combat_belts, name="combat_belts"),
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
    path("operations", views.operations, name="operations"),
    path("openapi.json", views.description, name="openapi"),
    re_path(r"^", views.not_found, name="not_found"),
]
