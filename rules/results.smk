# Tables, figures, claims and the report.
#
# Each has a mark beside it whose name says of what it was made; without the mark of the present
# runs and settings it is made again.

import kdlab.claims
import kdlab.report
from kdlab.figures import caption

SETTINGS = f"runs/settings/{fingerprint(EXPERIMENT.dump())}.json"
TABLE2_VECTORS, TABLE2_CODES = EXPERIMENT.table2() if PRESET.table2 else (None, None)


def measurements(runs):
    """What the models of a result measured."""
    return [ancient(PLAN.find(run, "measurement.json")) for run in PLAN.measured(runs)]


def made(name, **of):
    """The mark of a result."""
    return touch(PLAN.made(name, **of))


def result(name, category):
    """A result that Snakemake's own report shows, with the caption of that name."""
    kinds = {"Figures": "figure", "Tables": "table"}
    known = Path(workflow.basedir, "workflow/captions", f"{Path(name).stem}.rst")
    page = known.stem if known.exists() else kinds[category]
    return report(
        f"{RESULTS}/{name}", category=category, caption=f"../workflow/captions/{page}.rst"
    )


def begin(name):
    """What every result's command begins with: marks of what it was made of before go."""
    return f"rm -f {PLAN.mark(name)}*; "


# Seconds each: not worth a place in a cluster's queue.
localrules:
    settings,
    measurements,
    clustering_table,
    table2,
    claims,
    report,


rule settings:
    output:
        SETTINGS,
    params:
        text=json.dumps(EXPERIMENT.dump(), indent=2, ensure_ascii=False),
    message:
        "Settings of the preset {EXPERIMENT.name}"
    shell:
        "printf '%s\\n' {params.text:q} > {output:q}.part && mv {output:q}.part {output:q}"


rule measurements:
    input:
        files=measurements(EXPERIMENT.models()),
        settings=ancient(SETTINGS),
    output:
        table=result("measurements.csv", "Tables"),
        metrics=f"{RESULTS}/metrics.json",
        made=made(
            "measurements",
            runs=PLAN.measured(EXPERIMENT.models()),
            modules=["kdlab.measurements"],
        ),
    log:
        f"runs/logs/{EXPERIMENT.name}/measurements.log",
    message:
        "Measurements: one row per trained model"
    shell:
        begin("measurements") + "python workflow/scripts/measurements.py {input.files:q}"
        " --settings {input.settings:q} --table {output.table:q} --metrics {output.metrics:q}"
        " --log {log:q}"


def tables():
    """Every table, and every table of one model alone: name, table, model."""
    for name, table in PRESET.tables.items():
        yield name, name, None
        for model in PRESET.models:
            if table.rows_of(model):
                yield f"{name}_{model}", name, model


for name, table, model in tables():
    runs = PLAN.measured(EXPERIMENT.table(table, [model] if model else None))

    rule:
        name:
            name if model else f"table_{name}"
        input:
            files=measurements(runs),
            paper=ancient("config/paper_numbers.yaml"),
            settings=ancient(SETTINGS),
        output:
            csv=result(f"{name}.csv", "Tables") if not model else f"{RESULTS}/{name}.csv",
            markdown=f"{RESULTS}/{name}.md",
            latex=f"{RESULTS}/{name}.tex",
            made=made(name, runs=runs, modules=["kdlab.tables"]),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}.log",
        params:
            caption=PRESET.tables[table].title,
            only=f"--name {table}" + (f" --model {model}" if model else ""),
        message:
            f"Table: {name}"
        localrule: True
        shell:
            begin(name) + "python workflow/scripts/table.py {input.files:q} {params.only}"
            " --settings {input.settings:q} --paper {input.paper:q}"
            " --csv {output.csv:q} --markdown {output.markdown:q} --latex {output.latex:q}"
            " --log {log:q}"


for name in PRESET.sweeps:
    runs = PLAN.measured([point.run for point in EXPERIMENT.sweep(name)])

    rule:
        name:
            f"sweep_{name}"
        input:
            files=measurements(runs),
            settings=ancient(SETTINGS),
        output:
            csv=f"{RESULTS}/{name}_sweep.csv",
            made=made(f"{name}_sweep", runs=runs, modules=["kdlab.sweeps"]),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}_sweep.log",
        params:
            name=name,
        message:
            f"Sweep: {name}"
        localrule: True
        shell:
            begin(f"{name}_sweep") + "python workflow/scripts/sweep.py {input.files:q}"
            " --name {params.name} --settings {input.settings:q} --csv {output.csv:q} --log {log:q}"


if PRESET.clustering:

    rule clustering_table:
        input:
            [ancient(PLAN.find(run, "points.csv")) for run in EXPERIMENT.clustering()],
        output:
            csv=f"{RESULTS}/figure3_clustering.csv",
            made=made("figure3_clustering", runs=EXPERIMENT.clustering()),
        log:
            f"runs/logs/{EXPERIMENT.name}/figure3_clustering.log",
        message:
            "Figure 3 (a, b): joining the seeds"
        shell:
            begin("figure3_clustering") + "python workflow/scripts/clustering_table.py {input:q}"
            " --csv {output.csv:q} --log {log:q}"


if PRESET.table2:

    rule table2:
        input:
            vectors=ancient(PLAN.find(TABLE2_VECTORS, "vectors.safetensors")),
            codes=ancient(PLAN.find(TABLE2_CODES, "codes.safetensors")),
            settings=ancient(SETTINGS),
        output:
            table=result("table2.csv", "Tables"),
            listing=f"{RESULTS}/table2.md",
            similarity=f"{RESULTS}/table2_similarity.csv",
            made=made("table2", runs=[TABLE2_VECTORS, TABLE2_CODES], modules=["kdlab.table2"]),
        log:
            f"runs/logs/{EXPERIMENT.name}/table2.log",
        message:
            "Table 2"
        shell:
            begin("table2") + "python workflow/scripts/table2.py --settings {input.settings:q}"
            " --vectors {input.vectors:q} --codes {input.codes:q} --table {output.table:q}"
            " --listing {output.listing:q} --similarity {output.similarity:q} --log {log:q}"


def result_of(file):
    """The result that a file of the results folder belongs to."""
    return {"metrics.json": "measurements", "table2_similarity.csv": "table2"}.get(
        file, Path(file).stem
    )


def results_in(files):
    """Files of the results folder as inputs."""
    return [ancient(f"{RESULTS}/{file}") for file in files]


def curves():
    """Learning curves of all tables' models, those that are there."""
    runs = [run for name in PRESET.tables for run in EXPERIMENT.table(name)]
    return [
        ancient(PLAN.find(run, "curve.csv")) for run in dict.fromkeys(PLAN.measured(runs))
    ]


def benchmarks():
    """How long the codes of all tables took to learn, where it is known."""
    runs = [run for name in PRESET.tables for run in EXPERIMENT.table(name)]
    found = [PLAN.find(r, "benchmark.tsv") for r in upstream(runs) if r.stage == "codes"]
    return [ancient(file) for file in found if Path(file).exists()]


def words():
    """Vectors and codes of Table 2, as a figure's script is told of them."""
    codes = PLAN.find(TABLE2_CODES, "codes.safetensors")
    return [ancient(PLAN.find(TABLE2_VECTORS, "vectors.safetensors")), ancient(codes)]


for name, figure in PRESET.figures.items():
    files = [need for need in figure.needs if "." in need]
    others = getattr(figure.module, "TABLES", ())
    runs = [run for table in PRESET.tables for run in EXPERIMENT.table(table)]
    of_words = [TABLE2_VECTORS, TABLE2_CODES] if "words" in figure.needs else []
    of_curves = PLAN.measured(runs) if "curves" in figure.needs else []

    rule:
        name:
            f"figure_{name}"
        input:
            results=results_in(files),
            curves=curves() if "curves" in figure.needs else [],
            benchmarks=benchmarks() if "benchmarks" in figure.needs else [],
            words=words() if "words" in figure.needs else [],
            settings=ancient(SETTINGS),
        output:
            png=result(f"{name}.png", "Figures"),
            pdf=f"{RESULTS}/{name}.pdf",
            tables=[f"{RESULTS}/{table}" for table in others],
            made=made(
                f"figure-{name}",
                runs=[*of_curves, *of_words],
                after=sorted({result_of(file) for file in files}),
                modules=[figure.module.__name__, "kdlab.style"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/{name}_figure.log",
        params:
            caption=caption(figure),
            name=name,
            results=RESULTS,
            words=lambda wildcards, input: (
                f"--vectors {input.words[0]} --codes {input.words[1]}"
                f" --decoder {Path(str(input.words[1])).with_name('decoder.safetensors')}"
                if input.words
                else ""
            ),
        message:
            f"Figure: {name}"
        localrule: True
        shell:
            begin(f"figure-{name}") + "python workflow/scripts/figure.py {input.curves:q}"
            " {input.benchmarks:q} --name {params.name} --settings {input.settings:q}"
            " --results {params.results:q} {params.words}"
            " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}"


if PRESET.claims:
    NEEDED = kdlab.claims.needs(EXPERIMENT)

    rule claims:
        input:
            results=results_in(NEEDED),
            settings=ancient(SETTINGS),
        output:
            csv=result("claims.csv", "Tables"),
            markdown=f"{RESULTS}/claims.md",
            made=made(
                "claims",
                after=sorted({result_of(file) for file in NEEDED}),
                modules=["kdlab.claims"],
            ),
        log:
            f"runs/logs/{EXPERIMENT.name}/claims.log",
        params:
            results=RESULTS,
        message:
            "Claims: every number the paper states"
        shell:
            begin("claims") + "python workflow/scripts/claims.py --settings {input.settings:q}"
            " --results {params.results:q} --csv {output.csv:q} --markdown {output.markdown:q}"
            " --log {log:q}"


SHOWN = kdlab.report.needs(EXPERIMENT)


rule report:
    input:
        results=results_in(SHOWN),
        vectors=words()[0] if PRESET.table2 else [],
        corpus=ancient(PLAN.find(EXPERIMENT.text, "corpus.safetensors")),
        settings=ancient(SETTINGS),
        template="workflow/templates/report.html",
    output:
        page=report(f"{RESULTS}/report.html", category="The whole on one page",
            caption="../workflow/captions/report.rst"),
        settings=f"{RESULTS}/settings.json",
        made=made(
            "report",
            after=sorted(PLAN.results),
            modules=["kdlab.report"],
        ),
    log:
        f"runs/logs/{EXPERIMENT.name}/report.log",
    params:
        results=RESULTS,
        vectors=lambda wildcards, input: (
            f"--vectors {input.vectors}" if input.vectors else ""
        ),
    message:
        "Report: {RESULTS}/report.html"
    shell:
        begin("report") + "cp {input.settings:q} {output.settings:q} && "
        "python workflow/scripts/report.py --settings {input.settings:q}"
        " --results {params.results:q} --template {input.template:q} --report {output.page:q}"
        " {params.vectors} --text {input.corpus:q} --log {log:q}"
