"""The same picture twice: facts of each file, a perceptual hash, alignment, near-duplicates."""
