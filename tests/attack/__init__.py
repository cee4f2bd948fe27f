"""Attacks on a stack as production runs it. docs/operator/security.md names them, and
`make attack` runs whatever that page names."""
