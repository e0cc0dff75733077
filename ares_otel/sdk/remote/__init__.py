"""What the configuration service and the registry do to a running application."""
