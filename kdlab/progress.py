"""What a run of Snakemake says: one line a job, what was made, and that it can be continued.

Snakemake's own messages take several lines a job, and none says how long it took. They are in its
log in `.snakemake/log`, and on the screen with `--verbose` or `--printshellcmds`.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from kdcore.durations import duration

# What results are for people to open.
OPENED = (".html", ".md", ".png")
# Messages of Snakemake that say nothing to somebody who waits.
SILENT = (
    "Using workflow specific profile", "Assuming unrestricted shared filesystem", "Building DAG",
    "Using shell", "Singularity containers", "Conda environments", "Select jobs", "Execute",
    "Will exit after finishing", "Shutting down", "Terminating processes", "Complete log",
    "Elapsed time", "Exiting because a job execution failed",
    # A job that failed has a line of its own, and has said why itself.
    "RuleException:\nCalledProcessError",
)  # fmt: skip
ENDED = "At least one job did not complete successfully"
# Events of which there is a line when the job has ended.
SHORTENED = (
    LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.SHELLCMD,
    LogEvent.RESOURCES_INFO, LogEvent.WORKFLOW_STARTED,
)  # fmt: skip
STOPS = ("Terminating processes", "Will exit after finishing")


@dataclass
class Job:
    """A job that was begun."""

    title: str
    begun: float
    made: list[str]
    log: list[str]


class Progress(logging.Formatter):
    """Formats and filters what Snakemake tells the screen.

    Args:
        results: folder of the results.
    """

    def __init__(self, results: str):
        super().__init__()
        self.results, self.begun = results, time.monotonic()
        self.jobs: dict[int, Job] = {}
        self.finished: list[Job] = []
        self.lines: list[str] = []
        self.done = self.total = 0
        self.stopped = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is shown; takes down what it says of jobs."""
        event, told = getattr(record, "event", None), record.__dict__
        if event == LogEvent.JOB_INFO:
            title = told["rule_msg"] or told["rule_name"]
            job = Job(title, time.monotonic(), list(told["output"]), list(told["log"]))
            self.jobs[told["jobid"]] = job
        elif event == LogEvent.JOB_FINISHED and told["job_id"] in self.jobs:
            self.finished.append(self.jobs[told["job_id"]])
        if event == LogEvent.PROGRESS:
            return self._note(told["done"], told["total"])
        if event == LogEvent.JOB_ERROR:
            return not self.stopped
        text = str(record.msg)
        self.stopped |= text.startswith(STOPS)
        return event not in SHORTENED and not text.lstrip().startswith(SILENT) and ENDED not in text

    def _note(self, done: int, total: int) -> bool:
        self.done, self.total = done, total
        width, now = len(str(total)), time.monotonic()
        jobs, self.finished = self.finished, []
        self.lines = [
            f"[{done:{width}}/{total}] {job.title} ({duration(now - job.begun)})" for job in jobs
        ]
        return bool(jobs)

    def format(self, record: logging.LogRecord) -> str:
        """A line for each job that has ended; what else is shown, as it is."""
        event, told = getattr(record, "event", None), record.__dict__
        if event == LogEvent.PROGRESS:
            return "\n".join(self.lines)
        if event == LogEvent.RUN_INFO:
            self.total = told["stats"]["total"]
            return _jobs(self.total)
        if event == LogEvent.JOB_ERROR:
            job = self.jobs.get(told["jobid"])
            log = f"; its log: {' '.join(job.log)}" if job and job.log else ""
            return f"Failed: {job.title if job else told['rule_name']}{log}"
        return str(record.msg or "")

    def made(self) -> str:
        """What a run that has ended made."""
        said = f"Done: {_jobs(self.done)} in {duration(time.monotonic() - self.begun)}."
        files = [Path(file) for job in self.jobs.values() for file in job.made]
        opened = sorted(
            {file.name for file in files if str(file.parent) == self.results and _is_opened(file)},
            key=lambda name: (OPENED.index(Path(name).suffix), name),
        )
        return said + (f" Made in {self.results}/: {', '.join(opened)}" if opened else "")

    def how_to_go_on(self) -> str:
        """What a run that has not come to its end says."""
        kept = f"{self.done} of {_jobs(self.total)} done"
        if self.stopped:
            return f"Stopped, {kept}. The same command continues."
        return f"Not finished, {kept}. Once that is mended, the same command continues."


def follow(results: str) -> Progress:
    """Make Snakemake say one line a job on the screen.

    Nothing changes in a dry run, or where Snakemake was asked to say more.

    Args:
        results: folder of the results.
    """
    progress = Progress(results)
    for handler in logging.getLogger("snakemake.logging").handlers:
        if handler.name == "DefaultStreamHandler" and not any(map(_says_more, handler.filters)):
            handler.filters.insert(0, progress)
            handler.setFormatter(progress)
    return progress


def _says_more(chosen: Any) -> bool:
    names = ("dryrun", "verbose", "debug_dag", "printshellcmds")
    return any(getattr(chosen, name, False) for name in names)


def _is_opened(file: Path) -> bool:
    return file.suffix in OPENED


def _jobs(number: int) -> str:
    return f"{number} job{'s' * (number != 1)}"
