"""What people see and do in Slack: cards, forms, the home, and how each message gets there."""
