"""Evaluation of a trained model: predictions, scores, sections of a test, verdict."""
