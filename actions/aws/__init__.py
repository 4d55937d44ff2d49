"""AWS: one gateway, and the actions and observations per service."""
