"""Messages on the queue of producers that are no task of ours: refused as batches, where their senders look for them.

Celery alone would write them to its log and forget them. Its main process has no database, so it sends what was wrong as
a ``caravan.submit`` message, which the pool behind it stores.
"""

from typing import Any

from celery.worker.consumer import Consumer

from worker.dispatch.app import SUBMIT_QUEUE


class SubmitConsumer(Consumer):
    """Celery's, which also has unreadable messages stored."""

    def on_unknown_message(self, body: Any, message: Any) -> None:
        super().on_unknown_message(body, message)
        self._refuse(message, "the message has no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_unknown_task(body, message, exc)
        self._refuse(message, f"there is no task {message.headers.get('task')!r}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_invalid_task(body, message, exc)
        self._refuse(message, f"the message is no Celery task: {exc}")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        super().on_decode_error(message, exc)
        self._refuse(message, f"the message cannot be read: {exc}")

    def _refuse(self, message: Any, reason: str) -> None:
        if (message.delivery_info or {}).get("routing_key") != SUBMIT_QUEUE:
            return
        self.app.send_task(
            "caravan.submit",
            kwargs={"unreadable": f"{reason}; expected the task caravan.submit, as JSON"},
            task_id=(message.headers or {}).get("id"),
            queue=SUBMIT_QUEUE,
        )
