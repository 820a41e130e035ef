"""Makes bundles: tasks, optimisers, the loop, and the verb `train`."""
