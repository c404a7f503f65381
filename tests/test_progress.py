"""What a run of Snakemake says while it runs, and at its end."""

import logging
import subprocess

import pytest
from project_copy import command, copy_project, environment
from snakemake.logging import ColorizingTextHandler, DefaultFilter, LogEvent

from kdcore.durations import duration
from kdlab.progress import Progress, follow


@pytest.fixture
def told(monkeypatch):
    """A handler like Snakemake's own, and the lines that it shows."""
    lines: list[str] = []

    class Screen(ColorizingTextHandler):
        def emit(self, record):
            lines.extend(self.format(record).splitlines())

    screen = Screen(nocolor=True)
    screen.name = "DefaultStreamHandler"
    screen.addFilter(DefaultFilter({}, False, False, False, False))
    logger = logging.getLogger("snakemake.logging")
    monkeypatch.setattr(logger, "handlers", [screen])
    monkeypatch.setattr(logger, "level", logging.INFO)
    return lines, logger, screen


def say(logger, event=None, message=None, **more):
    logger.info(message, extra={"event": event, **more} if event else {})


def job(logger, jobid: int, title: str | None, *output: str):
    say(logger, LogEvent.JOB_INFO, jobid=jobid, rule_msg=title, rule_name="rule",
        output=output, log=[f"runs/{jobid}.txt"])  # fmt: skip


def finish(logger, jobid: int, done: int):
    say(logger, LogEvent.JOB_FINISHED, "Finished jobid", job_id=jobid)
    say(logger, LogEvent.PROGRESS, done=done, total=12)


def test_a_job_is_one_line_and_the_end_says_what_was_made(told):
    lines, logger, _ = told
    progress = follow("results/x")
    say(logger, message="Building DAG of jobs...")
    say(logger, LogEvent.RUN_INFO, "Job stats", stats={"total": 12})
    job(logger, 1, "Table: table1", "results/x/table1.csv", "results/x/table1.md")
    job(logger, 2, None, "results/x/report.html", "runs/report.html")
    say(logger, message="Execute 2 jobs...")
    say(logger, LogEvent.SHELLCMD, "Shell command: long", shellcmd="long")
    finish(logger, 2, 1)
    finish(logger, 1, 2)
    assert lines == ["12 jobs", "[ 1/12] rule (0 s)", "[ 2/12] Table: table1 (0 s)"]
    assert progress.made() == "Done: 2 jobs in 0 s. Made in results/x/: report.html, table1.md"


def test_a_job_that_fails_names_its_log_and_not_its_command(told):
    lines, logger, _ = told
    progress = follow("results/x")
    job(logger, 1, "Text: generated", "runs/a")
    logger.error("Error in rule", extra={"event": LogEvent.JOB_ERROR, "jobid": 1,
                                         "rule_name": "rule", "shellcmd": "long"})  # fmt: skip
    logger.error("RuleException:\nCalledProcessError in file \"a.smk\", line 3:\nCommand 'long'")
    logger.error("WorkflowError:\nAt least one job did not complete successfully.")
    assert lines == ["Failed: Text: generated; its log: runs/1.txt"]
    assert progress.how_to_go_on().endswith("Once that is mended, the same command continues.")


@pytest.mark.parametrize("message", ["Terminating processes on user request", "Will exit after "])
def test_a_run_that_was_stopped_says_how_it_goes_on(told, message):
    lines, logger, _ = told
    progress = follow("results/x")
    job(logger, 1, "Text: generated", "runs/a")
    finish(logger, 1, 1)
    say(logger, message=f"{message}finishing")
    job(logger, 2, "codes", "runs/b")
    logger.error("Error in rule", extra={"event": LogEvent.JOB_ERROR, "jobid": 2})
    assert lines == ["[ 1/12] Text: generated (0 s)", *lines[1:]] and "Error" not in str(lines)
    assert progress.how_to_go_on() == "Stopped, 1 of 12 jobs done. The same command continues."


def test_other_messages_are_shown_as_they_are(told):
    lines, logger, _ = told
    follow("results/x")
    logger.error("MissingInputException in rule a")
    say(logger, LogEvent.ERROR, "Directory cannot be locked.")
    assert lines == ["MissingInputException in rule a", "Directory cannot be locked."]


@pytest.mark.parametrize("asked", ["dryrun", "verbose", "debug_dag", "printshellcmds"])
def test_who_asks_for_more_gets_it(told, asked):
    _, _, screen = told
    setattr(screen.filters[0], asked, True)
    follow("results/x")
    assert not any(isinstance(found, Progress) for found in screen.filters)


def test_a_duration_is_told_in_its_two_largest_units():
    found = [duration(seconds) for seconds in (0.4, 59.6, 140, 3599.7, 8000)]
    assert found == ["0 s", "1 min 0 s", "2 min 20 s", "1 h 0 min", "2 h 13 min"]


@pytest.mark.workflow
def test_what_a_run_says(tmp_path):
    project = copy_project(tmp_path / "project")
    done = subprocess.run(
        command("figure2"), cwd=project, env=environment(project), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if "profile" not in line]
    assert lines[0] == "3 jobs" and lines[2].startswith("[2/3] Figure: figure2 (")
    assert lines[-1].startswith("Done: 3 jobs in ")
    assert lines[-1].endswith("Made in results/tiny/: figure2.png")
    assert len(lines) == 5
