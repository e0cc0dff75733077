"""How components are described, configured, connected, started, exchanged and stopped. Imports `model` only."""
