"""A world on one machine in which faults and recoveries are real."""
