"""The worker processes that own recognisers, and the pool that the server takes them from."""
