# What a preset ends in, and what can be asked for by name: for DVC one target per stage.

PAPER = [
    f"{RESULTS}/{name}"
    for name in [
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
        "figure1.png",
        "figure1.pdf",
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
        "run_times_total.csv",
        "run_times.png",
        "run_times.pdf",
        "claims.csv",
        "claims.md",
    ]
]
PRETRAINED = pretrained_for(PRESET, all_cells(PRESET))
if PRESET.table1:
    PRETRAINED = list(dict.fromkeys(PRETRAINED + table2_cells(PRESET)))
# Those of the tables, and those from whose embedding others start.
BASELINES = {cell for cell in all_cells(PRESET) if cell.codes == "none"} | {*PRETRAINED}
if PRESET.ablations:
    BASELINES.add(Cell(PRESET.ablations.baseline, "none", "none", None, None, 1))


localrules:
    baselines,
    embeddings,
    codes,
    retrained,


rule baselines:
    input:
        sorted(measurement(cell) for cell in BASELINES),


rule embeddings:
    input:
        sorted(learned_from(cell) for cell in PRETRAINED),
        ABLATED_VECTORS if PRESET.ablations else [],


rule codes:
    input:
        sorted({codes_of(cell) for cell in all_cells(PRESET) if cell.codes != "none"}),
        [f"{RUNS}/table2/codes.safetensors", *CLUSTERINGS] if PRESET.table1 else [],


rule retrained:
    input:
        [measurement(cell) for cell in all_cells(PRESET) if cell.codes != "none"],
        [f"{RUNS}/{folder}/measurement.json" for folder in ABLATED],


# One column of Table 1, and its codes alone: they need no GPU.
for size in PRESET.sizes if PRESET.table1 else []:

    rule:
        name:
            f"table1_{size}"
        input:
            f"{RESULTS}/table1_{size}.csv",
        localrule: True

    rule:
        name:
            f"codes_{size}"
        input:
            sorted(
                {
                    codes_of(cell)
                    for cell in table1_cells(PRESET, [size])
                    if cell.codes != "none"
                }
            ),
        localrule: True
