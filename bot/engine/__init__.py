"""Plans become runs here: what follows from a command or a click, and the durable run that carries a plan out."""
