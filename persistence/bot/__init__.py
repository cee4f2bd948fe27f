"""The bot's side: what an old button is answered, and how that is found out."""
