# What the rules share: the checked configuration, paths, and the hash of a script's code.

import json
import os
from pathlib import Path
from shlex import quote

from kdlab.download import name_mirror
from kdcore.errors import KDError
from kdcore.files import read_json, sha256
from kdlab import records
from kdlab.compute import device_of, precision_of
from kdlab.measured import checks
from kdlab.own import PTB_TOKENS, check_there, check_watched, own_files, tokens_about
from kdlab.preset import (
    TRANSFORMS,
    Cell,
    all_cells,
    load_preset,
    pretrained_for,
    sweep_cells,
    table1_cells,
    table2_cells,
)
from kdlab.provenance import code_hash

try:
    PRESET = load_preset(config)
    OWN = own_files(PRESET)
    check_watched(OWN)
    if workflow.is_main_process:
        check_there(OWN)
except KDError as error:
    raise WorkflowError(str(error)) from None

if PRESET.data_mirror:
    # For the jobs' environment: where data comes from must not make a rule run again.
    name_mirror(PRESET.data_mirror)

CHECKS = checks(PRESET)
DATA = f"data/{PRESET.preset}"
RUNS = f"runs/{PRESET.preset}"
RESULTS = f"results/{PRESET.preset}"
SETTINGS = f"{RUNS}/report/settings.json"
# Results that came with a clone look finished to Snakemake. This mark, an input of the rules that
# begin them, is made with the first run and newer than they are: they are made again. (A rule that
# makes it would not do: Snakemake looks for no input of results that are there.)
MADE_HERE = f"{RUNS}/report/made_here"
if not os.path.exists(MADE_HERE):
    os.makedirs(f"{RUNS}/report", exist_ok=True)
    open(MADE_HERE, "a").close()

# Before Snakemake looks at them, so before it holds its lock: does nothing while another run does.
if workflow.is_main_process:
    records.restore(PRESET.preset)


def noted(action):
    """Begin or end the records; a disk that is full is one line."""
    try:
        action(PRESET.preset)
    except KDError as error:
        raise WorkflowError(str(error)) from None


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
    noted(records.begin)


onsuccess:
    noted(records.keep)


onerror:
    noted(records.keep)


# Inert unless asked for: snakemake --software-deployment-method conda
ENVIRONMENT = f"{workflow.basedir}/workflow/environment.yaml"
# Codes that are learned, and through which transform.
LEARNERS = {"linear": "linear", "lstm": "lstm", "refined": "linear"}
DEVICE = device_of(PRESET.compute)
GPU = int(DEVICE == "cuda")
# Part of the commands, not a parameter of the rules: where a model is trained must not make it
# run again. Each measurement names its device.
COMPUTE = f"--device {DEVICE} --precision {{resources.precision}}"
# What takes long is stopped and continued.
SCRATCH = (
    f"--scratch {RUNS}/scratch --checkpoint-seconds {PRESET.compute.checkpoint_seconds}"
)


wildcard_constraints:
    size="|".join(PRESET.sizes),
    codes="|".join(["random", *LEARNERS]),
    transform="|".join(TRANSFORMS),
    K=r"\d+",
    D=r"\d+",
    seed=r"\d+",


def script(name):
    """Path of a script."""
    return f"{workflow.basedir}/workflow/scripts/{name}.py"


def code(name):
    """Hash of the script and of the kdcore modules it imports: a rule reruns when it changes."""
    return code_hash(script(name))


def content(files):
    """Hashes of the user's own ones among them: another file need not be a newer one."""
    own = [path for path in files if path in OWN]
    return [sha256(path) if os.path.exists(path) else "absent" for path in own]


def as_json(section):
    """A section of the configuration as one command-line argument."""
    return json.dumps(section.model_dump())


def shown(name, category):
    """A result that Snakemake's own report shows, with the caption of that name."""
    caption = f"../workflow/captions/{Path(name).stem}.rst"
    return report(f"{RESULTS}/{name}", category=category, caption=caption)


def measurement(cell):
    """What a trained model measured."""
    return f"{RUNS}/{cell.folder}/measurement.json"


def learned_from(cell):
    """The vectors from which a cell's codes are learned: the baseline of the same seed."""
    return f"{RUNS}/embedding/{cell.size}/seed{cell.seed}/vectors.safetensors"


def codes_of(cell):
    """A cell's codes."""
    return f"{RUNS}/{cell.codes_folder}/codes.safetensors"


def embedding_of(cell):
    """Settings of a cell's KD embedding."""
    return PRESET.kd_embedding.of(cell.size, cell.transform)


def fitted_to(embedding, cell):
    """The vectors that a KD embedding is fitted to before its model is retrained, if any."""
    return learned_from(cell) if embedding.fit else []


def fit_option(wildcards, input):
    """How they are named on the command line."""
    return f"--vectors {input.vectors}" if input.vectors else ""


def learning_option(learning):
    """How the codes were learned, on the command line of what is trained on them."""
    return f"--learning {quote(as_json(learning))}" if learning else ""


def counted(learning):
    """The text, where a refinement of codes counts how often its words occur."""
    return f"{DATA}/corpus.safetensors" if learning.refinement else []


def counts_option(wildcards, input):
    """How it is named on the command line."""
    return f"--corpus {input.corpus}" if input.corpus else ""


def variant(name):
    """The ablation of that name."""
    return next(v for v in PRESET.ablations.variants if v.name == name)


def variant_size(wildcards):
    """The model size an ablation is retrained with."""
    return PRESET.ablations.size_of(variant(wildcards.name))


def variant_learning(wildcards):
    """How an ablation's codes are learned."""
    return variant(wildcards.name).learning or PRESET.ablations.learning


def precision(size):
    """Of a size's products, as a resource: unlike a parameter, it makes nothing run again."""
    return precision_of(PRESET.compute, DEVICE, size)


def minutes(size, transform="none"):
    """Run time to ask a cluster for: twice what one core of a 2024 server takes, at least 30."""
    model = PRESET.sizes[size]
    cost = model.epochs * (model.hidden / 200) ** 1.7 * (0.02 if GPU else 1)
    cost *= tokens_about(PRESET) / PTB_TOKENS
    return max(30, int((6.4 if TRANSFORMS.get(transform) == "lstm" else 4) * cost))


def megabytes(size):
    """Memory to ask a cluster for: Python, a model over 10,000 words four times, a GPU's driver."""
    model = PRESET.sizes[size]
    numbers = 20_000 * model.hidden + 8 * model.layers * model.hidden**2
    return 2000 + 16 * numbers // 10**6 + 4000 * GPU


def available(folders, name="measurement.json"):
    """The file of that name of each run.

    With `partial` only what there is: of a run, or else what was published of it.
    """
    if not PRESET.partial:
        return [f"{RUNS}/{folder}/{name}" for folder in folders]
    return [f"{place}/{name}" for folder in folders for place in places(folder, name)]


def places(folder, name):
    """Where a file of a run is to be read with `partial`; empty if nowhere."""
    both = [f"{RUNS}/{folder}", f"{RESULTS}/measured/{folder}"]
    found = [place for place in both if os.path.exists(f"{place}/{name}")]
    if folder in CHECKS:
        # A run with other settings does not hide what was published of these.
        files = [f"{place}/measurement.json" for place in found]
        fits = [os.path.exists(f) and not CHECKS[folder](read_json(f)) for f in files]
        found = [place for place, fit in zip(found, fits) if fit] or found
    return found[:1]


def folders(cells):
    """Of the models, below runs/<preset>/."""
    return [cell.folder for cell in cells]
