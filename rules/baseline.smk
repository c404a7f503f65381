# Language models with a conventional embedding.

BASELINE = f"{RUNS}/baseline/{{size}}/seed{{seed}}"


rule baseline:
    input:
        corpus=f"{DATA}/corpus.safetensors",
    output:
        model=f"{BASELINE}/model.safetensors",
        curve=f"{BASELINE}/curve.csv",
        measurement=f"{BASELINE}/measurement.json",
    log:
        f"{BASELINE}/log.txt",
    benchmark:
        f"{BASELINE}/benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: PRESET.compute.threads
    resources:
        mem_mb=lambda wildcards: megabytes(wildcards.size),
        runtime=lambda wildcards: minutes(wildcards.size),
        gpu=GPU,
        precision=lambda wildcards: precision(wildcards.size),
    params:
        settings=lambda wildcards: as_json(PRESET.sizes[wildcards.size]),
        code=code("train_baseline"),
    message:
        "Language model: {wildcards.size}, conventional embedding, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/train_baseline.py --corpus {input.corpus:q}"
        " --size {wildcards.size} --seed {wildcards.seed} --settings {params.settings:q}"
        " --model {output.model:q} --curve {output.curve:q} --measurement {output.measurement:q}"
        f" {COMPUTE} {SCRATCH} --threads {{threads}} --log {{log:q}}"
