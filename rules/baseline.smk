# Language models with a conventional embedding.


rule baseline:
    input:
        corpus=f"{DATA}/corpus.safetensors",
    output:
        model=f"{RUNS}/baseline/{{size}}/seed{{seed}}/model.safetensors",
        curve=f"{RUNS}/baseline/{{size}}/seed{{seed}}/curve.csv",
        measurement=f"{RUNS}/baseline/{{size}}/seed{{seed}}/measurement.json",
    log:
        f"{RUNS}/logs/baseline_{{size}}_seed{{seed}}.log",
    benchmark:
        f"{RUNS}/benchmarks/baseline_{{size}}_seed{{seed}}.tsv"
    threads: PRESET.compute.threads
    resources:
        mem_mb=2000,
        runtime=lambda wildcards: minutes(wildcards.size),
        gpu=GPU,
    params:
        settings=lambda wildcards: as_json(PRESET.sizes[wildcards.size]),
        code=code("train_baseline"),
    message:
        "Language model: {wildcards.size}, conventional embedding, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/train_baseline.py --corpus {input.corpus:q}"
        " --size {wildcards.size} --seed {wildcards.seed} --settings {params.settings:q}"
        f" --scratch {RUNS}/scratch"
        " --model {output.model:q} --curve {output.curve:q} --measurement {output.measurement:q}"
        f" {COMPUTE} --threads {{threads}} --log {{log:q}}"
