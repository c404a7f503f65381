# The report: everything a preset measured on one page.

# What it shows, by the name of its template; each is read from the folder of results.
SHOWN = {
    "measurements": "measurements.csv",
    "table1": "table1.csv",
    "table1_figure": "table1.png",
    "curves": "curves.png",
    "figure1": "figure1.png",
    "figure2": "figure2.png",
    "figure3": "figure3.png",
    "table2": "table2.md",
    "similarity": "table2_similarity.csv",
    "code_space": "code_space.png",
    "neighbours": "neighbours.csv",
    "run_times": "run_times.png",
    "run_times_total": "run_times_total.csv",
    "claims": "claims.csv",
}


localrules:
    report,


rule report:
    input:
        **(
            {name: f"{RESULTS}/{file}" for name, file in SHOWN.items()}
            if PRESET.table1
            else {}
        ),
        ablations=rules.ablations.output.table if PRESET.ablations else [],
        vectors=TABLE2_VECTORS if PRESET.table2 else [],
        settings=SETTINGS,
        template=local("workflow/templates/report.html"),
    output:
        shown("report.html", "The whole on one page"),
    log:
        f"{RUNS}/report/report.log",
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, input: os.path.dirname(
            input.ablations or input.measurements
        ),
        vectors=lambda wildcards, input: (
            f"--vectors {input.vectors}" if input.vectors else ""
        ),
        code=code("report"),
    message:
        "Report: {RESULTS}/report.html"
    shell:
        "python workflow/scripts/report.py --settings {input.settings:q}"
        " --results {params.results:q} {params.vectors} --template {input.template:q} --report {output:q} --log {log:q}"
