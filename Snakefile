# Learning K-way D-dimensional Discrete Code For Compact Embedding Representations:
# data -> language model -> embedding -> codes -> retrained model -> tables and figures.
#
#   snakemake --cores 8 all                                       the paper
#   snakemake --cores 2 --configfile config/demo.yaml -- all      the demo

import sys

sys.path.insert(0, workflow.basedir)

# With a configuration of one's own, nothing is mixed into it.
if not workflow.configfiles:

    configfile: "config/paper.yaml"


report: "workflow/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/settings.smk"
include: "rules/data.smk"


# With `partial`, what was measured is shown and nothing is trained.
if not PRESET.partial:

    include: "rules/baseline.smk"


include: "rules/embedding.smk"


if PRESET.table1:

    include: "rules/codes.smk"
    include: "rules/synthetic.smk"
    include: "rules/table2.smk"

    if not PRESET.partial:

        include: "rules/retrain.smk"
    include: "rules/results.smk"


ABLATED = []
if PRESET.ablations:

    include: "rules/ablations.smk"


include: "rules/report.smk"
include: "rules/targets.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        [f"{RESULTS}/settings.json", f"{RESULTS}/report.html"],
        PAPER if PRESET.table1 else [],
        rules.ablations.output if PRESET.ablations else [],
    message:
        "All of the preset {PRESET.preset}: {RESULTS}/report.html"
