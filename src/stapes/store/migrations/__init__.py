"""The schema's steps, oldest first; `stapes.store.schema` takes a database through them."""
