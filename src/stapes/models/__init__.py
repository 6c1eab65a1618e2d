"""The models there are, those that are installed, and which of them serves what."""
