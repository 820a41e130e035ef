"""The verb `serve`: bundles behind HTTP, as a page, as JSON, and by the Open Inference Protocol v2."""
