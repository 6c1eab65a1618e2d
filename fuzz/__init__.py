"""Fuzzing of what reads a stranger's text; `fuzz.targets` are the targets."""
