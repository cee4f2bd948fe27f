from __future__ import annotations

from django.db import models


class QuestStep(models.Model):
    """One fight that a player has won, for the quest that counts them."""

    session_id = models.UUIDField()
    character_id = models.BigIntegerField()

    class Meta:
        app_label = "extension"
        db_table = "game_quest_steps"
        constraints = (
            models.UniqueConstraint(
                fields=["session_id", "character_id"], name="game_quest_step_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.session_id} of {self.character_id}"


class FishingTrip(models.Model):
    """What a session of the mode `game_fishing` has come to."""

    session_id = models.UUIDField(primary_key=True)
    character_id = models.BigIntegerField()
    fish = models.IntegerField()

    class Meta:
        app_label = "extension"
        db_table = "game_fishing_trips"

    def __str__(self) -> str:
        return f"{self.session_id}: {self.fish}"
