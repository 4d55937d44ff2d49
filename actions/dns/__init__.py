"""DNS as clients see it: what the authoritative servers answer, and what resolvers still have in their caches."""
