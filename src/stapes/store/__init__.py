"""What outlives the process: the store port, its adapters and the one writer."""
