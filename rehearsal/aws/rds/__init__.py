"""RDS: one Multi-AZ instance whose failovers really happen."""
