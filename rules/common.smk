# What the rules share: the checked preset, its runs by address, and where files are.

import json
import os
from pathlib import Path
from shlex import quote

from kdcore.errors import KDError
from kdcore.files import fingerprint
from kdlab.addresses import upstream
from kdlab.compute import device_of, gpu_here, precision_of
from kdlab.download import name_mirror
from kdlab.paper import NUMBERS as PAPER_NUMBERS
from kdlab.planning import Plan, megabytes, minutes
from kdlab.progress import follow
from kdlab.unlock import note_host

try:
    PLAN = Plan.of(
        os.path.relpath(workflow.configfiles[-1]),
        config,
        check_files=workflow.is_main_process,
    )
except KDError as error:
    sys.exit(f"error: {error}")
PRESET, EXPERIMENT = PLAN.preset, PLAN.experiment

if PRESET.data_mirror:
    # For the jobs' environment: where data comes from is not part of an address.
    name_mirror(PRESET.data_mirror)

RESULTS = f"results/{EXPERIMENT.name}"
# A job that Snakemake starts elsewhere reads this, too: it is one line of the run that started it.
PROGRESS = follow(RESULTS) if workflow.is_main_process else None
DEVICE = device_of(PRESET.compute)
GPU = int(DEVICE == "cuda")
# Learning codes takes minutes on a CPU: it is no reason to ask a cluster for a GPU.
CODES_DEVICE = DEVICE if gpu_here() else "cpu"
# Part of the commands, not of an address: where a model is trained must not make it run again.
SCRATCH = (
    f"--scratch runs/scratch --checkpoint-seconds {PRESET.compute.checkpoint_seconds}"
)


onstart:
    if PRESET.compute.device == "auto" and not workflow.local_exec:
        raise WorkflowError(
            "compute.device is auto, which asks this machine; for a cluster say cuda or cpu,"
            " in the preset or by --config 'compute={device: cuda}'"
        )
    if PRESET.compute.device == "auto":
        found = "a GPU" if GPU else "the CPU: PyTorch sees no GPU"
        print(f"Language models are trained on {found}", file=sys.stderr)
    if notice := PLAN.notice(RESULTS):
        print(notice, file=sys.stderr)
    # A submit host needs no GPU; whether jobs run here is known only now.
    if GPU and workflow.local_exec:
        import torch

        if not torch.cuda.is_available():
            raise WorkflowError(
                "compute.device is cuda, but PyTorch sees no CUDA device; set cpu or auto"
            )
    if workflow.execution_settings.lock:
        note_host()


wildcard_constraints:
    address="[0-9a-f]{16}",


# How many GPUs profiles/default counts is said of one machine: a cluster counts its own.
resource_scopes:
    gpu="local",


def run(wildcards):
    """The run of an address."""
    return PLAN.runs[wildcards.address]


def title(wildcards):
    """What messages call a run."""
    return run(wildcards).title


def of(role, name):
    """A file of what a run starts from, if it starts from such a thing.

    By address: the file is there or it is not, and its age does not matter.
    """

    def path(wildcards):
        source = run(wildcards).inputs.get(role)
        return ancient(PLAN.find(source, name)) if source else []

    return path


def corpus_of_words(wildcards):
    """The text whose words codes are of, if they are of a text's: vectors must have its words."""
    if not run(wildcards).names["of_text"]:
        return []
    return ancient(PLAN.find(EXPERIMENT.text, "corpus.safetensors"))


def trained(wildcards):
    """The model that vectors are taken from; with `partial` nothing trains it."""
    vectors, source = run(wildcards), run(wildcards).inputs.get("model")
    files = [(vectors, "vectors.safetensors"), (source, "model.safetensors")]
    if (
        PRESET.partial
        and source
        and not any(Path(r.path(name)).exists() for r, name in files)
    ):
        raise WorkflowError(
            f"partial trains no model for {vectors.title}; without partial, the target"
            " vectors makes them"
        )
    return of("model", "model.safetensors")(wildcards)


def settings(wildcards):
    """A run's settings as one command-line argument."""
    return json.dumps(run(wildcards).settings, ensure_ascii=False)


def identity(wildcards):
    """What a run's address is the hash of, as one command-line argument."""
    return json.dumps(run(wildcards).identity, ensure_ascii=False)


def option(name):
    """How an input that is not always there is named on the command line."""
    return lambda wildcards, input: (
        f"--{name} {quote(str(input[name]))}" if input[name] else ""
    )


# What results are made of, and where scripts read the preset.
SETTINGS = f"runs/settings/{fingerprint(EXPERIMENT.dump())}.json"
TABLE2_VECTORS, TABLE2_CODES = EXPERIMENT.table2() if PRESET.table2 else (None, None)
OF_TABLES = list(
    dict.fromkeys(run for name in PRESET.tables for run in EXPERIMENT.table(name))
)
RECONSTRUCTIONS = PLAN.measured(
    run for name in PRESET.reconstructions for run in EXPERIMENT.reconstructions(name)
)
NEEDED_RUNS = PLAN.needed([*PLAN.measured(EXPERIMENT.models()), *RECONSTRUCTIONS])


def measurements(runs):
    """What the models of a result measured."""
    return [ancient(PLAN.find(run, "measurement.json")) for run in PLAN.measured(runs)]


def results_in(files):
    """Files of the folder of results, each with the mark of the result it belongs to."""
    return [
        ancient(path)
        for file in files
        for path in (f"{RESULTS}/{file}", PLAN.marks[file])
    ]


def shown(name, category):
    """A result that Snakemake's own report shows, with the caption of that name."""
    kinds = {"Figures": "figure", "Tables": "table"}
    known = Path(workflow.basedir, "workflow/captions", f"{Path(name).stem}.rst")
    page = known.stem if known.exists() else kinds[category]
    return report(
        f"{RESULTS}/{name}",
        category=category,
        caption=f"../workflow/captions/{page}.rst",
    )


def making(command):
    """The command that makes a result: the marks of what it was made of before go first."""
    begin = 'made={output.made:q}; rm -f "${{made%@*}}"@*;'
    return f'{begin} {command} && touch "$made"'


def tables():
    """Every table, and every table of one model alone: name, table, model."""
    for name, table in PRESET.tables.items():
        yield name, name, None
        for model in PRESET.models:
            if table.rows_of(model):
                yield f"{name}_{model}", name, model


def words():
    """Vectors and codes of Table 2."""
    if not PRESET.table2:
        return []
    return [
        ancient(PLAN.find(TABLE2_VECTORS, "vectors.safetensors")),
        ancient(PLAN.find(TABLE2_CODES, "codes.safetensors")),
    ]


def text():
    """The index of the text, where there is one."""
    if not PRESET.text:
        return []
    return [ancient(PLAN.find(EXPERIMENT.text, "corpus.safetensors"))]


def curves():
    """Learning curves of all tables' models, those that are there."""
    return [ancient(PLAN.find(run, "curve.csv")) for run in PLAN.measured(OF_TABLES)]


CODES = [run for run in upstream(OF_TABLES) if run.stage == "codes"]


def benchmarks():
    """How long the codes of all tables took to learn, where it is known."""
    found = [PLAN.find(run, "benchmark.tsv") for run in CODES]
    return [ancient(file) for file in found if Path(file).exists()]


def codes_with_error():
    """Codes of all tables whose error is known, or will be: what is published is not learned."""

    def learned_here(run):
        name = "codes.safetensors"
        return not PRESET.partial and PLAN.find(run, name) == run.path(name)

    known = PRESET.published
    return [r for r in CODES if r.exists("error.json", known) or learned_here(r)]


def stage(*stages):
    """The files of all runs of a stage that are needed here."""
    return [
        ancient(r.path(file)) for r, file in NEEDED_RUNS.items() if r.stage in stages
    ]


def results_called(name):
    """Tables, sweeps and figures of a name."""
    files = [
        (PRESET.tables, f"{name}.csv"),
        (PRESET.sweeps, f"{name}_sweep.csv"),
        (PRESET.figures, f"{name}.png"),
    ]
    return results_in([file for section, file in files if name in section])
