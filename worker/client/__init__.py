"""For producers in Python: submit, wait, read the results. ``from caravan import Caravan``."""

from worker.client.asked import submission_of
from worker.client.given import Jobs
from worker.client.handle import BatchHandle, OnProgress
from worker.client.producer import Client

__all__ = ["BatchHandle", "Client", "Jobs", "OnProgress", "submission_of"]
