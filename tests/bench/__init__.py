"""The benchmark: `make bench` measures what a person waits for, beside a bare Bolt app and a bare script."""
