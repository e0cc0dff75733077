"""What steers the pipeline from beside it: the service registry."""
