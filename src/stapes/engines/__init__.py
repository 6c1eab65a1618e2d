"""Speech recognisers behind one port, and the ear of a stream above them."""
