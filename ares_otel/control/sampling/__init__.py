"""Which traces applications shall begin: strategies from settings, and probabilities that follow the load."""
