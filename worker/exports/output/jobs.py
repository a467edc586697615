"""Jobs in the shapes that are shown."""

from api_schemas.output.jobs import AttemptOutput, ExplainedOutput, HitOutput, HitsOutput, JobOutput
from worker.explain.explained import Explained
from worker.search.search import SearchResult
from worker.storage.reports import JobLine


def job_output(job: JobLine) -> JobOutput:
    """A job of a list."""
    return JobOutput.from_value(job, batch=job.batch_id, job=job.job_id)


def explained_output(explained: Explained) -> ExplainedOutput:
    """What a job or a batch waits for."""
    return ExplainedOutput(
        batch=explained.batch_id,
        job=explained.job_id,
        custom_id=explained.custom_id,
        state=explained.state,
        sentences=list(explained.sentences),
        attempts=[
            AttemptOutput.from_value(attempt, code=attempt.error_code, message=attempt.error_message)
            for attempt in explained.attempts
        ],
    )


def hits_output(result: SearchResult) -> HitsOutput:
    """What a search matched."""
    hits = [
        HitOutput.from_value(
            hit.text,
            batch=hit.text.batch_id,
            batch_name=hit.text.batch,
            job=hit.text.job_id,
            field=hit.field,
            snippet=hit.snippet,
        )
        for hit in result.hits
    ]
    return HitsOutput(hits=hits, more=result.more, behind=result.progress.behind)
