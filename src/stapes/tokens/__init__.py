"""Session tokens: what they grant, how they are minted and verified, their public keys. Pure."""
