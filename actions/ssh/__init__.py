"""The hosts of agents over SSH: the inventory, a client with strict host keys, and the steps of a rolling restart."""
