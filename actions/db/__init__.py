"""PostgreSQL: connecting, health, sessions."""
