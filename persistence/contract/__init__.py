"""The contract of engine, worker and bot: documents, keys, codes. Needs pydantic."""
