"""The broker's schema, for both engines: `versions/` in order. It has no triggers."""
