"""The machines: processes that end with the rehearsal, the control plane that runs on them, and the name in front of it."""
