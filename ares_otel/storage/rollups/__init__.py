"""Roll-ups: what requests append is merged into counts by minute, which answer the common questions."""
