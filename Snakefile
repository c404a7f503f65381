# Learning K-way D-dimensional Discrete Code For Compact Embedding Representations:
# text → language model → embedding → codes → retrained model → tables and figures.
#
#   snakemake --cores 8 all                                       the paper
#   snakemake --cores 2 --configfile config/demo.yaml -- all      the demo
#   snakemake --cores 8 --configfile config/compress.yaml         a table compressed by many jobs


# With a configuration of one's own, nothing is mixed into it.
if not workflow.configfiles:

    configfile: "config/paper.yaml"


# Inert unless containers are asked for; nobody has run it so.
container: "docker://python:3.11"


report: "workflow/captions/workflow.rst"


# What is made unless something else is asked for is the first rule of this file: those of included
# files are none.
if "table" in config:

    include: "rules/compress.smk"

    rule compressed:
        input:
            COMPRESSION.out,
        localrule: True

else:

    include: "rules/common.smk"
    include: "rules/inputs.smk"
    include: "rules/train.smk"
    include: "rules/codes.smk"
    include: "rules/results.smk"
    include: "rules/targets.smk"

    rule all:
        input:
            EVERYTHING,
        localrule: True
        message:
            "All of the preset {EXPERIMENT.name}: {RESULTS}/report.html"


include: "rules/ends.smk"
