"""Combat history, characters, inventory and ledger: tables, admin, reconciliation."""
