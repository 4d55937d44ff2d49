"""Terraform (or OpenTofu): a plan that people see, and the very file that they saw is what is applied."""
