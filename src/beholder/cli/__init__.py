"""The command line: one sub-command per verb, which parses, calls and prints. Results go to stdout, messages to stderr."""
