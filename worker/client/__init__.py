"""For producers in Python: submit, wait, read the results. ``from caravan import Caravan``."""

from worker.client.fields import Fields, submission_of
from worker.client.handle import BatchHandle
from worker.client.job_lines import Jobs
from worker.client.producer import Client
from worker.client.progress import OnProgress

__all__ = ["BatchHandle", "Client", "Fields", "Jobs", "OnProgress", "submission_of"]
