"""AWS in two regions, as far as the scenarios use it, with real effects."""
