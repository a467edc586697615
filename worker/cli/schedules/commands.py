"""``caravan schedule``: the same question put to a folder of documents, every night."""

import typer

from worker.cli.schedules.change import schedule_files, schedule_pause, schedule_remove, schedule_resume
from worker.cli.schedules.look import schedule_history, schedule_list, schedule_show
from worker.cli.schedules.put import schedule_add, schedule_apply
from worker.cli.schedules.run import schedule_run

schedules = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Ask documents every night: only what is new or changed.",
)
schedules.command("add")(schedule_add)
schedules.command("apply")(schedule_apply)
schedules.command("list")(schedule_list)
schedules.command("show")(schedule_show)
schedules.command("pause")(schedule_pause)
schedules.command("resume")(schedule_resume)
schedules.command("remove")(schedule_remove)
schedules.command("history")(schedule_history)
schedules.command("files")(schedule_files)
schedules.command("run")(schedule_run)
