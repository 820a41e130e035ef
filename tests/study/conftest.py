"""Every scores.json that a test makes here is held against the schema."""

from __future__ import annotations

from tests.schema import scores_have_their_form as scores_have_their_form
