"""One module for each place where something is left: rows, sessions, accounts, ..."""
