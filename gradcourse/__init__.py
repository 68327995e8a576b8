"""See what happens to a gradient in a deep or recurrent network, and what each remedy really does."""

__version__ = "0.1.0"
