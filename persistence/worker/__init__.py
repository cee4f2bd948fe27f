"""The worker's side: from the inbox, through transactions, to the Savers."""
