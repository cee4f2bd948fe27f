"""The cases of a sweep: a module for each place where something gets lost."""
