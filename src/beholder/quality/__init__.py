"""The audit: checks, findings, decisions, and a copy that follows them."""
