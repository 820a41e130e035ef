"""Several packages together: the six steps in order, the demonstration, the search for a better recipe."""
