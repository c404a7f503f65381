# Tables, figures, claims and the report.
#
# Each has a mark beside it whose name says of what it was made; without the mark of the present
# runs and settings it is made again. They take seconds each, not worth a place in a cluster's queue.

import kdlab.claims
import kdlab.report
from kdlab.drawing import caption


rule settings:
    output:
        SETTINGS,
    log:
        f"runs/logs/{EXPERIMENT.name}/settings.log",
    localrule: True
    params:
        text=json.dumps(EXPERIMENT.dump(), indent=2, ensure_ascii=False),
    message:
        "Settings of the preset {EXPERIMENT.name}"
    shell:
        "(printf '%s\\n' {params.text:q} > {output:q}.part"
        " && mv {output:q}.part {output:q}) 2> {log:q}"


rule measurements:
    input:
        files=measurements(EXPERIMENT.models()),
        settings=ancient(SETTINGS),
    output:
        table=shown("measurements.csv", "Tables"),
        metrics=f"{RESULTS}/metrics.json",
        made=PLAN.made(
            "measurements",
            ["measurements.csv", "metrics.json"],
            runs=PLAN.measured(EXPERIMENT.models()),
            modules=["kdlab.measurements", "kdlab.tables"],
            sources=["workflow/scripts/measurements.py"],
        ),
    log:
        f"runs/logs/{EXPERIMENT.name}/measurements.log",
    localrule: True
    message:
        "Measurements: one row per trained model"
    shell:
        making(
            "python workflow/scripts/measurements.py {input.files:q}"
            " --settings {input.settings:q} --table {output.table:q}"
            " --metrics {output.metrics:q} --log {log:q}",
        )


for name, table, model in tables():
    runs = PLAN.measured(EXPERIMENT.table(table, [model] if model else None))

    rule:
        name:
            f"table_{name}"
        input:
            files=measurements(runs),
            paper=ancient(str(PAPER_NUMBERS)),
            settings=ancient(SETTINGS),
        output:
            csv=f"{RESULTS}/{name}.csv" if model else shown(f"{name}.csv", "Tables"),
            markdown=f"{RESULTS}/{name}.md",
            latex=f"{RESULTS}/{name}.tex",
            made=PLAN.made(
                name,
                [f"{name}.csv", f"{name}.md", f"{name}.tex"],
                runs=runs,
                modules=["kdlab.tables"],
                sources=["workflow/scripts/table.py", str(PAPER_NUMBERS)],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}.log",
        localrule: True
        params:
            caption=PRESET.tables[table].title,
            only=f"--name {table}" + (f" --model {model}" if model else ""),
        message:
            f"Table: {name}"
        shell:
            making(
                "python workflow/scripts/table.py {input.files:q} {params.only}"
                " --settings {input.settings:q} --paper {input.paper:q} --csv {output.csv:q}"
                " --markdown {output.markdown:q} --latex {output.latex:q} --log {log:q}",
            )


for name in PRESET.sweeps:
    runs = PLAN.measured(dict.fromkeys(point.run for point in EXPERIMENT.sweep(name)))

    rule:
        name:
            f"sweep_{name}"
        input:
            files=measurements(runs),
            settings=ancient(SETTINGS),
        output:
            csv=f"{RESULTS}/{name}_sweep.csv",
            made=PLAN.made(
                f"{name}_sweep",
                [f"{name}_sweep.csv"],
                runs=runs,
                modules=["kdlab.sweeps"],
                sources=["workflow/scripts/sweep.py"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}_sweep.log",
        localrule: True
        params:
            name=name,
        message:
            f"Sweep: {name}"
        shell:
            making(
                "python workflow/scripts/sweep.py {input.files:q} --name {params.name}"
                " --settings {input.settings:q} --csv {output.csv:q} --log {log:q}",
            )


if PRESET.clustering:

    rule clustering_table:
        input:
            [ancient(PLAN.find(run, "points.csv")) for run in EXPERIMENT.clustering()],
        output:
            csv=f"{RESULTS}/figure3_clustering.csv",
            made=PLAN.made(
                "clustering",
                ["figure3_clustering.csv"],
                runs=EXPERIMENT.clustering(),
                sources=["workflow/scripts/clustering_table.py"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/figure3_clustering.log",
        localrule: True
        message:
            "Figure 3 (a, b): joining the seeds"
        shell:
            making(
                "python workflow/scripts/clustering_table.py {input:q} --csv {output.csv:q}"
                " --log {log:q}",
            )


if PRESET.table2:

    rule table2:
        input:
            words=words(),
            settings=ancient(SETTINGS),
        output:
            table=shown("table2.csv", "Tables"),
            listing=f"{RESULTS}/table2.md",
            similarity=f"{RESULTS}/table2_similarity.csv",
            made=PLAN.made(
                "table2",
                ["table2.csv", "table2.md", "table2_similarity.csv"],
                runs=[TABLE2_VECTORS, TABLE2_CODES],
                modules=["kdlab.table2"],
                sources=["workflow/scripts/table2.py"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/table2.log",
        localrule: True
        message:
            "Table 2"
        shell:
            making(
                "python workflow/scripts/table2.py --settings {input.settings:q}"
                " --vectors {input.words[0]:q} --codes {input.words[1]:q}"
                " --table {output.table:q} --listing {output.listing:q}"
                " --similarity {output.similarity:q} --log {log:q}",
            )


if PRESET.reconstructions:

    rule reconstruction_table:
        input:
            files=measurements(RECONSTRUCTIONS),
            settings=ancient(SETTINGS),
        output:
            csv=shown("reconstruction.csv", "Tables"),
            made=PLAN.made(
                "reconstruction",
                ["reconstruction.csv"],
                runs=RECONSTRUCTIONS,
                modules=["kdlab.reconstruction"],
                sources=["workflow/scripts/reconstruction_table.py"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/reconstruction_table.log",
        localrule: True
        params:
            caption="Word vectors in every form and size: bits, error, neighbours that stay",
        message:
            "Word vectors compressed: joining forms and sizes"
        shell:
            making(
                "python workflow/scripts/reconstruction_table.py {input.files:q}"
                " --settings {input.settings:q} --csv {output.csv:q} --log {log:q}",
            )


for name, figure in PRESET.figures.items():
    files = [need for need in figure.needs if "." in need]
    others = figure.table_files
    runs = [TABLE2_VECTORS, TABLE2_CODES] if "words" in figure.needs else []
    runs += PLAN.measured(OF_TABLES) if "curves" in figure.needs else []
    judged = codes_with_error() if "errors" in figure.needs else []

    rule:
        name:
            f"figure_{name}"
        input:
            results=results_in(files),
            curves=curves() if "curves" in figure.needs else [],
            benchmarks=benchmarks() if "benchmarks" in figure.needs else [],
            errors=[ancient(PLAN.find(run, "error.json")) for run in judged],
            words=words() if "words" in figure.needs else [],
            settings=ancient(SETTINGS),
        output:
            png=shown(f"{name}.png", "Figures"),
            pdf=f"{RESULTS}/{name}.pdf",
            tables=[f"{RESULTS}/{table}" for table in others],
            made=PLAN.made(
                f"figure-{name}",
                [f"{name}.png", f"{name}.pdf", *others],
                runs=[*runs, *judged],
                after=files,
                modules=[figure.module.__name__, "kdlab.drawing", "kdlab.style"],
                sources=["workflow/scripts/figure.py"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}_figure.log",
        localrule: True
        params:
            caption=caption(figure),
            name=name,
            results=lambda wildcards, output: Path(output.png).parent,
            words=lambda wildcards, input: (
                f"--vectors {input.words[0]} --codes {input.words[1]}"
                f" --decoder {Path(str(input.words[1])).with_name('decoder.safetensors')}"
                if input.words
                else ""
            ),
        message:
            f"Figure: {name}"
        shell:
            making(
                "python workflow/scripts/figure.py {input.curves:q} {input.benchmarks:q}"
                " {input.errors:q}"
                " --name {params.name} --settings {input.settings:q}"
                " --results {params.results:q} {params.words}"
                " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}",
            )


if PRESET.claims:
    JUDGED = kdlab.claims.needs(EXPERIMENT)

    rule claims:
        input:
            results=results_in(JUDGED),
            paper=ancient(str(PAPER_NUMBERS)),
            settings=ancient(SETTINGS),
        output:
            csv=shown("claims.csv", "Tables"),
            markdown=f"{RESULTS}/claims.md",
            made=PLAN.made(
                "claims",
                ["claims.csv", "claims.md"],
                after=JUDGED,
                modules=["kdlab.claims"],
                sources=["workflow/scripts/claims.py", str(PAPER_NUMBERS)],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/claims.log",
        localrule: True
        params:
            results=lambda wildcards, output: Path(output.csv).parent,
        message:
            "Claims: every number the paper states"
        shell:
            making(
                "python workflow/scripts/claims.py --settings {input.settings:q}"
                " --paper {input.paper:q} --results {params.results:q} --csv {output.csv:q}"
                " --markdown {output.markdown:q} --log {log:q}",
            )


SHOWN = kdlab.report.needs(EXPERIMENT)
TEMPLATE = "workflow/templates/report.html"


rule report:
    input:
        results=results_in(SHOWN),
        words=words(),
        corpus=text(),
        settings=ancient(SETTINGS),
        template=ancient(TEMPLATE),
    output:
        page=report(
            f"{RESULTS}/report.html",
            category="The whole on one page",
            caption="../workflow/captions/report.rst",
        ),
        settings=f"{RESULTS}/settings.json",
        made=PLAN.made(
            "report",
            ["report.html", "settings.json"],
            after=SHOWN,
            modules=["kdlab.report"],
            sources=["workflow/scripts/report.py", TEMPLATE],
        ),
    log:
        f"runs/logs/{EXPERIMENT.name}/report.log",
    localrule: True
    params:
        results=lambda wildcards, output: Path(output.page).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {input.words[0]} --codes {input.words[1]}"
            if input.words
            else ""
        ),
        text=lambda wildcards, input: f"--text {input.corpus}" if input.corpus else "",
    message:
        "Report: {RESULTS}/report.html"
    shell:
        making(
            "cp {input.settings:q} {output.settings:q} &&"
            " python workflow/scripts/report.py --settings {input.settings:q}"
            " --results {params.results:q} --template {input.template:q}"
            " --report {output.page:q} {params.vectors} {params.text} --log {log:q}",
        )
