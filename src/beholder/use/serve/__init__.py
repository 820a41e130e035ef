"""The verb `serve`: bundles behind HTTP, a page for people, JSON for programs, the Open Inference Protocol v2 for clients that exist."""
