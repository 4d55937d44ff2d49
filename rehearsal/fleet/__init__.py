"""The rehearsal's fleet: many hosts over SSH from one process, each with an agent that really is up or down."""
