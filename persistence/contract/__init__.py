"""What engine, worker and bot agree on: documents, keys, codes. Needs pydantic only."""
