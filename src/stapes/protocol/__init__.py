"""The wire and the session: messages, parameters, events and the state machine. Pure."""
