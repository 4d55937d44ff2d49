"""ECS: one cluster with one service, whose tasks are real processes."""
