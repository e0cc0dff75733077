"""What every room shares: signals, batches, errors and the clock. Imports nothing else of Ares."""
