"""Which commands are there? Each with the group of the help it stands in, its module and its help in one line."""

from worker.records import record


@record
class Entry:
    """A command, or a group of commands."""

    module: str
    attribute: str
    help: str
    """The first line of its docstring (a test compares them)."""


GROUPS: dict[str, dict[str, Entry]] = {
    "Work": {
        "run": Entry("worker.cli.run", "run", "Ask every prompt in FILE on these hosts and keep the answers."),
        "submit": Entry(
            "worker.cli.submit", "submit", "Put a batch in the database for whoever serves, and wake them."
        ),
        "ask": Entry("worker.cli.ask", "ask", "Ask one question and print the answer as it is written."),
        "quote": Entry("worker.cli.quote", "quote", "Estimate what FILE takes: jobs, loads and time."),
        "watch": Entry("worker.cli.watch", "watch", "Watch a batch until it is done, or all work."),
        "up": Entry("worker.cli.up", "up", "Serve all hosts and whatever is submitted, until stopped."),
    },
    "Look": {
        "status": Entry("worker.cli.batches", "status", "Show how far a batch has come, or list all batches."),
        "jobs": Entry("worker.cli.seeing", "jobs", "List the jobs of a batch: state, host, tries, why it failed."),
        "results": Entry(
            "worker.cli.results", "results", "Write results as JSON lines, a table, Parquet or a database."
        ),
        "explain": Entry("worker.cli.seeing", "explain", "Say what a job or a batch waits for, and what helps."),
        "search": Entry("worker.cli.search", "search", "Find prompts and answers by their words, in any language."),
        "report": Entry("worker.cli.report", "report", "Sum up the work: tokens, GPU time, loads, speed and kWh."),
    },
    "Change": {
        "pause": Entry("worker.cli.actions", "pause", "Start no more jobs of a batch; those that run go on."),
        "resume": Entry("worker.cli.actions", "resume", "Let a paused batch go on."),
        "cancel": Entry("worker.cli.actions", "cancel", "Cancel the rest of a batch, or some jobs. Answers stay."),
        "retry": Entry("worker.cli.actions", "retry", "Ask jobs again: failed, held, cut, empty or unfit ones."),
        "edit": Entry("worker.cli.actions", "edit", "Change the priority or the hours of a batch."),
        "delete": Entry("worker.cli.keeping", "delete", "Delete jobs for good: prompts, answers and attempts."),
        "prune": Entry("worker.cli.keeping", "prune", "Forget prompts and answers of batches that are over."),
    },
    "Manage": {
        "models": Entry("worker.cli.models", "models", "List, pull, load, copy and remove models on all hosts."),
        "hosts": Entry("worker.cli.hosts", "hosts", "Add, check, change and drain Ollama hosts."),
        "schedule": Entry(
            "worker.cli.schedules.commands", "schedules", "Ask documents every night: only what is new or changed."
        ),
        "fleet": Entry("worker.cli.fleet", "fleet", "Run the processes of a fleet: worker, control and beat."),
        "db": Entry("worker.cli.db", "db", "Upgrade, check, back up and move the database."),
    },
    "More": {
        "demo": Entry("worker.cli.demo", "demo", "Show Caravan at work on two simulated hosts, in a minute."),
        "health": Entry("worker.cli.health", "health", "Say whether all is well; exit code 1 when it is not."),
        "notify": Entry("worker.cli.notify", "notify", "Try the channels that report trouble."),
        "info": Entry("worker.cli.info", "info", "Show versions, database, and where settings come from."),
        "simulate": Entry("simulator.command", "simulate", "Simulate Ollama hosts for any client, until Ctrl-C."),
    },
}  # fmt: skip
UNLISTED = {
    "worker": Entry("worker.cli.fleet", "worker", "Serve hosts of a fleet until stopped."),
    "control": Entry("worker.cli.fleet", "control", "Run the periodic services of a fleet until stopped."),
    "beat": Entry("worker.cli.fleet", "beat", "Send the ticks that control works on, until stopped."),
}
"""What service files call; ``fleet`` lists them."""
COMMANDS: dict[str, Entry] = {
    name: entry for entries in (*GROUPS.values(), UNLISTED) for name, entry in entries.items()
}

ELSEWHERE = {
    "batches": "status",
    "export": "results --without reasoning",
    "list": "status",
    "logs": "watch",
    "ls": "status",
    "ps": "hosts ps",
    "set": "edit",
    "unhold": "retry --state held",
    "version": "--version",
}
"""Words that people try, and what does it here."""

COMMON = frozenset(
    {
        *("--prompt", "--template", "--system", "--id", "--documents", "--from", "--limit", "--sample", "--show"),
        *("--model", "--set", "--think", "--format", "--name", "--new", "--extend", "--retry-failed", "--by"),
        *("--host", "--slots", "--output", "--json", "--dry-run", "--mail-to", "--cron", "--beside"),
        *("--state", "--cut", "--wide", "--with", "--without", "--follow", "--as", "--where", "--measure"),
    }
)  # fmt: skip
"""Options that the help of a command with many of them shows; ``--help-all`` shows all."""
RARE = frozenset({"Rows of another batch, with --from"})
"""Panels that only ``--help-all`` shows."""

COMPLETION_VARIABLE = "_CARAVAN_COMPLETE"
"""The variable that a shell sets to be told what may stand at its cursor: ``complete_bash``, and so on."""
