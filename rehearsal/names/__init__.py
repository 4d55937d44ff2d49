"""Names: a zone, the two authoritative servers that serve it, a caching resolver, and the public address behind a name."""
