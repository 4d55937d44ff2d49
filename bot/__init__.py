"""The Slack app and the durable runs. The only place that knows Slack and the engine."""
