"""What every receiver that serves requests shares: bodies read within bounds, answers, threads, options."""
