"""What a person can ask for, one module per failure scenario: facts, findings, plan. Importing them fills the registry."""

from commands import control_plane as control_plane
from commands import database as database
from commands import restore as restore
