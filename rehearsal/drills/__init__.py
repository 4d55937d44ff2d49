"""Drills: a fault, the recovery from it through Slack, and a report that the witness agrees with."""
