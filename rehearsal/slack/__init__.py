"""A Slack workspace in the browser."""
