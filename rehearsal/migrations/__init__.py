"""The control plane's migrations: a drizzle project, and what of it is applied when a rehearsal begins."""
