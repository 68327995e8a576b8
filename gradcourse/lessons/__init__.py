"""One module per notebook, of the same name: its settings, measurements, pictures and checks."""
