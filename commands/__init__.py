"""What a person can ask for, one module per failure scenario: facts, findings, plan."""
