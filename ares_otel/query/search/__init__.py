"""Search for traces: what is wanted, how it becomes SQL, what is found, and what found traces look like from afar."""
