"""Audio of the wire: encodings, sample rates, where speech begins and ends. Pure."""
