"""What may be done to the world, one module per service. Knows no Slack and no scenario."""
