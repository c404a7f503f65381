# Learning K-way D-dimensional Discrete Code For Compact Embedding Representations:
# data -> language model -> embedding -> codes -> retrained model -> tables and figures.
#
#   snakemake --cores 8 all                                    the paper
#   snakemake --cores 2 --configfile config/demo.yaml all      the demo

import sys

sys.path.insert(0, workflow.basedir)

# With a configuration of one's own, nothing is mixed into it.
if not workflow.configfiles:

    configfile: "config/paper.yaml"


include: "rules/common.smk"
include: "rules/data.smk"


# With `partial`, what was measured is shown and nothing is trained.
if not PRESET.partial:

    include: "rules/baseline.smk"
    include: "rules/retrain.smk"


include: "rules/embedding.smk"
include: "rules/codes.smk"
include: "rules/synthetic.smk"
include: "rules/table2.smk"
include: "rules/results.smk"


localrules:
    all,
    data,
    baselines,
    embeddings,
    codes,
    retrained,
    table1_small,
    table1_large,


rule all:
    default_target: True
    input:
        [
            f"{RESULTS}/{name}"
            for name in [
                "report.html",
                "settings.json",
                "measurements.csv",
                "metrics.json",
                "table1.csv",
                "table1.md",
                "table1.tex",
                "table1.png",
                "table1.pdf",
                "table2.csv",
                "table2.md",
                "table2_similarity.csv",
                "neighbours.csv",
                "code_space.png",
                "code_space.pdf",
                "figure2.csv",
                "figure2.png",
                "figure2.pdf",
                "figure3_clustering.csv",
                "figure3_sweep.csv",
                "figure3.png",
                "figure3.pdf",
                "curves.png",
                "curves.pdf",
                "run_times.csv",
                "run_times.png",
                "run_times.pdf",
                "claims.csv",
                "claims.md",
            ]
        ],


rule data:
    input:
        f"{DATA}/corpus.safetensors",
        TABLE2_VECTORS if PRESET.table2.vectors.kind != "baseline" else [],


rule baselines:
    input:
        [measurement(cell) for cell in all_cells(PRESET) if cell.codes == "none"],


rule embeddings:
    input:
        sorted(
            {
                learned_from(cell)
                for cell in all_cells(PRESET)
                if cell.codes in LEARNERS
            }
        ),


rule codes:
    input:
        sorted({codes_of(cell) for cell in all_cells(PRESET) if cell.codes != "none"}),
        f"{RUNS}/table2/codes.safetensors",
        CLUSTERINGS,


rule retrained:
    input:
        [measurement(cell) for cell in all_cells(PRESET) if cell.codes != "none"],


rule table1_small:
    input:
        f"{RESULTS}/table1_small.csv",


rule table1_large:
    input:
        f"{RESULTS}/table1_large.csv",
