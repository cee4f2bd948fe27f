"""The bot's side: the answer to an old button, and the look-up behind it."""
