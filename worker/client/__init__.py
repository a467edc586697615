"""For producers in Python: submit, wait, read the results. ``from caravan import Caravan``."""

from worker.client.asked import submission_of
from worker.client.given import Jobs
from worker.client.handle import BatchHandle
from worker.client.producer import Client
from worker.client.progress import OnProgress

__all__ = ["BatchHandle", "Client", "Jobs", "OnProgress", "submission_of"]
