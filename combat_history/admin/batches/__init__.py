"""The pages of replay batches."""
