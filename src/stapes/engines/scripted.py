"""An engine that hears what it is told to: for tests, load and examples. Needs no model."""
