"""The words every other room speaks. Imports only the standard library and numpy."""
