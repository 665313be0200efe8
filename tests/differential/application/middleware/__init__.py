"""Applications with middleware, one for each stack."""
