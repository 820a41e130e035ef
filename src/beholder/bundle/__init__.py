"""The artifact: its format, saving, loading, verifying, and inference."""
