"""PostgreSQL: a primary and a synchronous standby behind one address, with faults."""
