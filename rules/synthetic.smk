# The synthetic clustering experiment, Figure 3 (a, b).

CLUSTERINGS = [
    f"{RUNS}/clustering/seed{seed}.csv"
    for seed in range(1, PRESET.figure3.clustering.seeds + 1)
]


rule cluster:
    output:
        f"{RUNS}/clustering/seed{{seed}}.csv",
    log:
        f"{RUNS}/clustering/seed{{seed}}.log",
    benchmark:
        f"{RUNS}/clustering/seed{{seed}}.tsv"
    conda:
        ENVIRONMENT
    threads: PRESET.compute.threads
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        settings=as_json(PRESET.figure3.clustering),
        code=code("cluster"),
    message:
        "Clustering: three arms and k-means, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/cluster.py --settings {params.settings:q}"
        " --seed {wildcards.seed} --points {output:q} --threads {threads} --log {log:q}"


rule figure3_clustering:
    input:
        points=CLUSTERINGS,
        here=MADE_HERE,
    output:
        f"{RESULTS}/figure3_clustering.csv",
    log:
        f"{RUNS}/report/figure3_clustering.log",
    conda:
        ENVIRONMENT
    params:
        code=code("figure3_clustering"),
    message:
        "Figure 3 (a, b): joining the seeds"
    shell:
        "python workflow/scripts/figure3_clustering.py {input.points:q} --table {output:q} --log {log:q}"
