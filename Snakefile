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


if "table" in config:

    include: "rules/compress.smk"

    # Here, where it is what is made unless something else is asked for.
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


include: "rules/ends.smk"
