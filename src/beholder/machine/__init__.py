"""Where it runs: device, precision, seeds, stop signals. The only room that knows of chips, ranks and clusters."""
