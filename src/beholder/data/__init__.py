"""From a source to batches: sources, pixels, survey, digests, split, cache, augmentation, loader."""
