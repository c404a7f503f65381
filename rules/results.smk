# Tables, figures and claims.

CELLS = all_cells(PRESET)
# Where Table 1's learned codes are, once each.
LEARNED = list(
    dict.fromkeys(
        cell.codes_folder for cell in table1_cells(PRESET) if cell.codes in LEARNERS
    )
)


# Seconds each: not worth a place in a cluster's queue.
localrules:
    measurements,
    table1,
    measurements_of_size,
    measurements_of_sweep,
    column_of_table1,
    picture_of_table1,
    curves,
    figure1,
    figure2,
    figure3_clustering,
    figure3,
    table2,
    code_space,
    claims,
    run_times,


rule measurements:
    input:
        measurements=available(folders(CELLS)),
        corpus=f"{DATA}/corpus.safetensors",
        here=MADE_HERE,
        settings=SETTINGS,
    output:
        shown("measurements.csv", "Tables"),
    log:
        f"{RUNS}/report/measurements.log",
    conda:
        ENVIRONMENT
    params:
        code=code("measurements"),
    message:
        "Measurements: one row per trained model"
    shell:
        "python workflow/scripts/measurements.py {input.measurements:q}"
        " --settings {input.settings:q} --corpus {input.corpus:q} --table {output:q} --log {log:q}"


rule table1:
    input:
        measurements=f"{RESULTS}/measurements.csv",
        paper=local("config/paper_numbers.yaml"),
        settings=SETTINGS,
    output:
        table=shown("table1.csv", "Tables"),
        markdown=f"{RESULTS}/table1.md",
        latex=f"{RESULTS}/table1.tex",
        metrics=f"{RESULTS}/metrics.json",
    log:
        f"{RUNS}/report/table1.log",
    conda:
        ENVIRONMENT
    params:
        code=code("table1"),
        only="",
    message:
        "Table 1"
    shell:
        "python workflow/scripts/table1.py --measurements {input.measurements:q}"
        " --paper {input.paper:q} --settings {input.settings:q} {params.only}"
        " --table {output.table:q} --markdown {output.markdown:q} --latex {output.latex:q}"
        " --metrics {output.metrics:q} --log {log:q}"


use rule measurements as measurements_of_size with:
    input:
        measurements=lambda wildcards: available(
            folders(table1_cells(PRESET, [wildcards.size]))
        ),
        corpus=f"{DATA}/corpus.safetensors",
        here=MADE_HERE,
        settings=SETTINGS,
    output:
        f"{RUNS}/report/size_{{size}}.csv",
    log:
        f"{RUNS}/report/measurements_{{size}}.log",
    message:
        "Measurements: the {wildcards.size} models of Table 1"


use rule measurements as measurements_of_sweep with:
    input:
        measurements=available(folders(sweep_cells(PRESET))),
        corpus=f"{DATA}/corpus.safetensors",
        here=MADE_HERE,
        settings=SETTINGS,
    output:
        f"{RUNS}/report/sweep.csv",
    log:
        f"{RUNS}/report/measurements_sweep.log",
    message:
        "Measurements: the models of Figure 3"


use rule table1 as column_of_table1 with:
    input:
        measurements=f"{RUNS}/report/size_{{size}}.csv",
        paper=local("config/paper_numbers.yaml"),
        settings=SETTINGS,
    output:
        table=f"{RESULTS}/table1_{{size}}.csv",
        markdown=f"{RESULTS}/table1_{{size}}.md",
        latex=f"{RESULTS}/table1_{{size}}.tex",
        metrics=f"{RESULTS}/metrics_{{size}}.json",
    log:
        f"{RUNS}/report/table1_{{size}}.log",
    params:
        code=code("table1"),
        only=lambda wildcards: f"--size {wildcards.size}",
    message:
        "Table 1: the {wildcards.size} model"


rule picture_of_table1:
    input:
        table=f"{RESULTS}/table1.csv",
    output:
        png=shown("table1.png", "Figures"),
        pdf=f"{RESULTS}/table1.pdf",
    log:
        f"{RUNS}/report/table1_figure.log",
    conda:
        ENVIRONMENT
    params:
        code=code("table1_figure"),
    message:
        "Table 1 as a picture"
    shell:
        "python workflow/scripts/table1_figure.py --table {input.table:q}"
        " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}"


rule curves:
    input:
        curves=available(folders(CELLS), "curve.csv"),
        measurements=f"{RESULTS}/measurements.csv",
        settings=SETTINGS,
    output:
        png=shown("curves.png", "Figures"),
        pdf=f"{RESULTS}/curves.pdf",
    log:
        f"{RUNS}/report/curves.log",
    conda:
        ENVIRONMENT
    params:
        code=code("curves"),
    message:
        "Learning curves"
    shell:
        "python workflow/scripts/curves.py {input.curves:q}"
        " --measurements {input.measurements:q} --settings {input.settings:q}"
        " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}"


rule figure2:
    input:
        MADE_HERE,
    output:
        png=shown("figure2.png", "Figures"),
        pdf=f"{RESULTS}/figure2.pdf",
        table=f"{RESULTS}/figure2.csv",
    log:
        f"{RUNS}/report/figure2.log",
    conda:
        ENVIRONMENT
    params:
        code=code("figure2"),
    message:
        "Figure 2"
    shell:
        "python workflow/scripts/figure2.py --png {output.png:q} --pdf {output.pdf:q}"
        " --table {output.table:q} --log {log:q}"


rule figure3:
    input:
        clustering=f"{RESULTS}/figure3_clustering.csv",
        measurements=f"{RUNS}/report/sweep.csv",
        settings=SETTINGS,
    output:
        png=shown("figure3.png", "Figures"),
        pdf=f"{RESULTS}/figure3.pdf",
        sweep=f"{RESULTS}/figure3_sweep.csv",
    log:
        f"{RUNS}/report/figure3.log",
    conda:
        ENVIRONMENT
    params:
        code=code("figure3"),
    message:
        "Figure 3"
    shell:
        "python workflow/scripts/figure3.py --clustering {input.clustering:q}"
        " --measurements {input.measurements:q} --settings {input.settings:q}"
        " --png {output.png:q} --pdf {output.pdf:q} --sweep {output.sweep:q} --log {log:q}"


rule claims:
    input:
        table1=f"{RESULTS}/table1.csv",
        clustering=f"{RESULTS}/figure3_clustering.csv",
        sweep=f"{RESULTS}/figure3_sweep.csv",
        similarity=f"{RESULTS}/table2_similarity.csv",
        table2=f"{RESULTS}/table2.csv",
        settings=SETTINGS,
    output:
        table=shown("claims.csv", "Claims"),
        markdown=f"{RESULTS}/claims.md",
    log:
        f"{RUNS}/report/claims.log",
    conda:
        ENVIRONMENT
    params:
        code=code("claims"),
    message:
        "Claims: every number the paper states"
    shell:
        "python workflow/scripts/claims.py --table1 {input.table1:q}"
        " --clustering {input.clustering:q} --sweep {input.sweep:q}"
        " --similarity {input.similarity:q} --table2 {input.table2:q}"
        " --settings {input.settings:q} --table {output.table:q} --markdown {output.markdown:q} --log {log:q}"


rule run_times:
    input:
        measurements=f"{RESULTS}/measurements.csv",
        settings=SETTINGS,
        benchmarks=available(LEARNED, "benchmark.tsv"),
    output:
        table=f"{RESULTS}/run_times.csv",
        total=shown("run_times_total.csv", "Tables"),
        png=shown("run_times.png", "Figures"),
        pdf=f"{RESULTS}/run_times.pdf",
    log:
        f"{RUNS}/report/run_times.log",
    conda:
        ENVIRONMENT
    params:
        code=code("run_times"),
    message:
        "Run times and the critical path"
    shell:
        "python workflow/scripts/run_times.py {input.benchmarks:q}"
        " --measurements {input.measurements:q} --settings {input.settings:q}"
        " --table {output.table:q} --total {output.total:q}"
        " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}"
