"""A lesson as a lecture: slides made from its notebook, live in a browser at projector size."""
