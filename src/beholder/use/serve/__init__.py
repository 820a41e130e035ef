"""The verb `serve`: bundles behind HTTP, for people (a page), programs (JSON) and existing clients (Open Inference Protocol v2)."""
