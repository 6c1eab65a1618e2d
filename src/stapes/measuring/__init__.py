"""How well and how fast a service hears: word errors, delays, capacity; measured, shown, drawn."""
