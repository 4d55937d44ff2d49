"""The bot's memory: the tables, and every statement on them. The only place that writes SQL."""
