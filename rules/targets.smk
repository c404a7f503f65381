# What a preset with the paper's tables ends in, and what can be asked for by name.

PAPER = [
    f"{RESULTS}/{name}"
    for name in [
        "report.html",
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
        "run_times.png",
        "run_times.pdf",
        "claims.csv",
        "claims.md",
    ]
]


localrules:
    baselines,
    embeddings,
    codes,
    retrained,
    table1_small,
    table1_medium,
    table1_large,


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


rule table1_medium:
    input:
        f"{RESULTS}/table1_medium.csv",


rule table1_large:
    input:
        f"{RESULTS}/table1_large.csv",
