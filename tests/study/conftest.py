"""What the tests of the study room share."""

from __future__ import annotations

from tests.schema import scores_have_their_form as scores_have_their_form
