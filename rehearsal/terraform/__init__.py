"""The infrastructure of the second region as code: a small stack that a real terraform plans and applies."""
