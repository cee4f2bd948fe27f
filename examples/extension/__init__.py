"""What a game adds to the settlement: a quest that counts wins, and a mode of its own.

SETTLEMENT_APPS=examples.extension
SETTLEMENT_HOOKS=examples.extension.quests.Wins
SETTLEMENT_SAVERS=game_fishing=examples.extension.fishing.FishingSaver
"""
