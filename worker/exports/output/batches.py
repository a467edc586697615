"""Batches in the shapes that are shown."""

from collections.abc import Iterable

from api_schemas.output.batches import BatchOutput, NoticeOutput, OperationOutput
from worker.domain.batches import BatchProgress
from worker.domain.notices import Notice, NoticeState
from worker.domain.operations import Operation


def batch_output(progress: BatchProgress) -> BatchOutput:
    """A batch, and its jobs by state."""
    batch = progress.batch
    return BatchOutput.from_value(
        batch,
        batch=batch.id,
        total=progress.total,
        done=progress.done,
        counts={str(state): n for state, n in progress.counts.items()},
        claimed=progress.claimed,
        terms={name: value for name, value in batch.terms.items() if value is not None},
        operation=None if progress.operation is None else operation_output(progress.operation),
    )


def operation_output(operation: Operation) -> OperationOutput:
    """A decision about many jobs."""
    return OperationOutput.from_value(operation)


def notices_output(notices: Iterable[Notice]) -> list[NoticeOutput]:
    """The addressees of a batch."""
    return [
        NoticeOutput(
            channel=str(notice.to.channel),
            target=notice.to.target,
            when=notice.to.when,
            state=str(notice.state),
            tries=notice.tries,
            next_at=notice.next_at if notice.state is NoticeState.WAITING else None,
            error=notice.error,
        )
        for notice in notices
    ]
