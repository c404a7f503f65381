# Language models retrained from scratch with a KD embedding.

RETRAINED = (
    f"{RUNS}/retrained/{{size}}/{{codes}}+{{transform}}/K{{K}}_D{{D}}/seed{{seed}}"
)


rule retrain:
    input:
        corpus=f"{DATA}/corpus.safetensors",
        codes=f"{RUNS}/codes/{{size}}/{{codes}}/K{{K}}_D{{D}}/seed{{seed}}/codes.safetensors",
        vectors=lambda wildcards: fitted_to(embedding_of(wildcards), wildcards),
    output:
        model=f"{RETRAINED}/model.safetensors",
        curve=f"{RETRAINED}/curve.csv",
        measurement=f"{RETRAINED}/measurement.json",
    log:
        f"{RETRAINED}/log.txt",
    benchmark:
        f"{RETRAINED}/benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: PRESET.compute.threads
    resources:
        mem_mb=lambda wildcards: megabytes(wildcards.size),
        runtime=lambda wildcards: minutes(wildcards.size, wildcards.transform),
        gpu=GPU,
        precision=lambda wildcards: precision(wildcards.size),
    params:
        settings=lambda wildcards: as_json(PRESET.sizes[wildcards.size]),
        embedding=lambda wildcards: as_json(embedding_of(wildcards)),
        transform=lambda wildcards: TRANSFORMS[wildcards.transform],
        fit=fit_option,
        learning=lambda wildcards: learning_option(
            getattr(PRESET.code_learning, wildcards.codes, None)
        ),
        code=code("retrain"),
    message:
        "Language model: {wildcards.size}, {wildcards.codes} codes, {wildcards.transform}"
        " transform, K = {wildcards.K}, D = {wildcards.D}, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/retrain.py --corpus {input.corpus:q} --codes {input.codes:q}"
        " --size {wildcards.size} --learner {wildcards.codes} --transform {params.transform}"
        " --called {wildcards.transform}"
        " --seed {wildcards.seed} --settings {params.settings:q}"
        " --embedding {params.embedding:q} {params.fit} {params.learning}"
        " --model {output.model:q} --curve {output.curve:q} --measurement {output.measurement:q}"
        f" {COMPUTE} {SCRATCH} --threads {{threads}} --log {{log:q}}"
