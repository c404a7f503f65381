# What can be asked for by name; for DVC one target per stage.


localrules:
    data,
    models,
    vectors,
    codes,
    retrained,


rule data:
    input:
        text(),
        words()[0] if PRESET.table2 and not TABLE2_VECTORS.inputs else [],


rule models:
    input:
        stage("models"),


rule vectors:
    input:
        stage("vectors"),
        words()[0] if PRESET.table2 else [],


rule codes:
    input:
        stage("codes"),
        words() if PRESET.table2 else [],
        [ancient(PLAN.find(run, "points.csv")) for run in EXPERIMENT.clustering()],
        measurements(RECONSTRUCTIONS),


rule retrained:
    input:
        stage("retrained"),


NAMES = dict.fromkeys([*PRESET.tables, *PRESET.sweeps, *PRESET.figures])
for name in NAMES:

    rule:
        name:
            name
        input:
            results_called(name),
        localrule: True


for name, _, model in tables():
    if model:

        rule:
            name:
                name
            input:
                results_in([f"{name}.csv"]),
            localrule: True


# The codes of one model's rows: they need no GPU.
for model in PRESET.models:

    rule:
        name:
            f"codes_{model}"
        input:
            [
                ancient(PLAN.find(r.inputs["codes"], "codes.safetensors"))
                for table in PRESET.tables
                for r in EXPERIMENT.table(table, [model])
                if "codes" in r.inputs
            ],
        localrule: True


# Every result; the rule that asks for it is in the Snakefile.
EVERYTHING = [
    results_in(["report.html", "measurements.csv"]),
    [results_called(name) for name in NAMES],
    results_in(["claims.csv"]) if PRESET.claims else [],
    results_in(["table2.csv"]) if PRESET.table2 else [],
    results_in(["reconstruction.csv"]) if PRESET.reconstructions else [],
]
