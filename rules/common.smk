# What the rules share: the checked preset, its runs by address, and where files are.

import json
from pathlib import Path
from shlex import quote

from kdcore.errors import KDError
from kdlab.compute import device_of, precision_of
from kdlab.download import name_mirror
from kdlab.planning import Plan, megabytes, minutes
from kdlab.unlock import forget_host, note_host

try:
    PLAN = Plan.of(
        workflow.configfiles[-1], config, check_files=workflow.is_main_process
    )
except KDError as error:
    sys.exit(f"error: {error}")
PRESET, EXPERIMENT = PLAN.preset, PLAN.experiment

if PRESET.data_mirror:
    # For the jobs' environment: where data comes from is not part of an address.
    name_mirror(PRESET.data_mirror)

RESULTS = f"results/{EXPERIMENT.name}"
DEVICE = device_of(PRESET.compute)
GPU = int(DEVICE == "cuda")
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
    # A submit host needs no GPU; whether jobs run here is known only now.
    if GPU and workflow.local_exec:
        import torch

        if not torch.cuda.is_available():
            raise WorkflowError(
                "compute.device is cuda, but PyTorch sees no CUDA device; set cpu or auto"
            )
    note_host()


onsuccess:
    forget_host()


onerror:
    forget_host()


wildcard_constraints:
    address="[0-9a-f]{16}",


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


def settings(wildcards):
    """A run's settings as one command-line argument."""
    return json.dumps(run(wildcards).settings, ensure_ascii=False)


def option(name):
    """How an input that is not always there is named on the command line."""
    return lambda wildcards, input: (
        f"--{name} {quote(str(input[name]))}" if input[name] else ""
    )
