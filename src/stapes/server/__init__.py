"""The service: REST and websocket on one port, and all the asyncio around the pure middle."""
