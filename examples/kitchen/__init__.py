"""A small kitchen: orders come in over HTTP, are cooked one after the other, and everybody watches them move."""
