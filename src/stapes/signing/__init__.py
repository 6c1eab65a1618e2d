"""OCI request signatures, version 1: take apart, check and make them. Pure."""
