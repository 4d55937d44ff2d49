"""What a person can ask for, one module per failure scenario or report. Importing them fills the registries."""

from commands import agents as agents
from commands import backups as backups
from commands import control_plane as control_plane
from commands import corruption_copy as corruption_copy
from commands import corruption_reindex as corruption_reindex
from commands import corruption_repair as corruption_repair
from commands import corruption_scan as corruption_scan
from commands import database as database
from commands import left_over as left_over
from commands import region as region
from commands import restore as restore
from commands import targets as targets
from commands import triage as triage
from commands import verify as verify
