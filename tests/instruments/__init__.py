"""Applications with instruments: the same spans, events and metrics whether FastAPI's code answers or a plan."""
