# Learning K-way D-dimensional Discrete Code For Compact Embedding Representations:
# data -> language model -> embedding -> codes -> retrained model -> tables and figures.
#
#   snakemake --cores 8 all                                    the paper
#   snakemake --cores 2 --configfile config/demo.yaml all      the demo

import sys

sys.path.insert(0, workflow.basedir)

if "preset" not in config:

    configfile: "config/paper.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/baseline.smk"
include: "rules/embedding.smk"
include: "rules/codes.smk"
include: "rules/retrain.smk"


rule all:
    default_target: True
    input:
        [measurement(cell) for cell in all_cells(PRESET)],
