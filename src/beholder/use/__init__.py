"""Uses bundles: predict, evaluate, report. What serves cannot train: nothing here imports `learn`."""
