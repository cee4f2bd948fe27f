"""The pages of settlement as a whole: dashboard, mode, audit, users."""
