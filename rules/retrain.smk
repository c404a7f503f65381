# Language models retrained from scratch with a KD embedding.

RETRAINED = (
    f"{RUNS}/retrained/{{size}}/{{codes}}+{{transform}}/K{{K}}_D{{D}}/seed{{seed}}"
)


rule retrain:
    input:
        corpus=f"{DATA}/corpus.safetensors",
        codes=f"{RUNS}/codes/{{size}}/{{codes}}/K{{K}}_D{{D}}/seed{{seed}}/codes.safetensors",
        vectors=lambda wildcards: fitted_to(
            getattr(PRESET.kd_embedding, wildcards.transform), wildcards
        ),
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
        mem_mb=2000,
        runtime=lambda wildcards: minutes(wildcards.size),
        gpu=GPU,
    params:
        settings=lambda wildcards: as_json(PRESET.sizes[wildcards.size]),
        embedding=lambda wildcards: as_json(
            getattr(PRESET.kd_embedding, wildcards.transform)
        ),
        fit=fit_option,
        code=code("retrain"),
    message:
        "Language model: {wildcards.size}, {wildcards.codes} codes, {wildcards.transform}"
        " transform, K = {wildcards.K}, D = {wildcards.D}, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/retrain.py --corpus {input.corpus:q} --codes {input.codes:q}"
        " --size {wildcards.size} --learner {wildcards.codes} --transform {wildcards.transform}"
        " --seed {wildcards.seed} --settings {params.settings:q}"
        f" --embedding {{params.embedding:q}} {{params.fit}} --scratch {RUNS}/scratch"
        " --model {output.model:q} --curve {output.curve:q} --measurement {output.measurement:q}"
        f" {COMPUTE} --threads {{threads}} --log {{log:q}}"


if PRESET.ablations:
    ABLATIONS = PRESET.ablations
    ABLATION_CELL = Cell(
        size=ABLATIONS.codes_size,
        codes=ABLATIONS.codes,
        transform="",
        K=PRESET.table1.K,
        D=PRESET.table1.D,
        seed=1,
    )

    rule ablation:
        input:
            corpus=f"{DATA}/corpus.safetensors",
            codes=codes_of(ABLATION_CELL),
            vectors=lambda wildcards: fitted_to(
                variant(wildcards.name).embedding, ABLATION_CELL
            ),
        output:
            model=temp(f"{RUNS}/ablations/{{name}}/model.safetensors"),
            curve=f"{RUNS}/ablations/{{name}}/curve.csv",
            measurement=f"{RUNS}/ablations/{{name}}/measurement.json",
        log:
            f"{RUNS}/ablations/{{name}}/log.txt",
        benchmark:
            f"{RUNS}/ablations/{{name}}/benchmark.tsv"
        conda:
            ENVIRONMENT
        threads: PRESET.compute.threads
        resources:
            mem_mb=2000,
            runtime=minutes(ABLATIONS.size),
            gpu=GPU,
        params:
            settings=as_json(PRESET.sizes[ABLATIONS.size]),
            embedding=lambda wildcards: as_json(variant(wildcards.name).embedding),
            transform=lambda wildcards: variant(wildcards.name).transform,
            fit=fit_option,
            code=code("retrain"),
        message:
            "Ablation: {wildcards.name}"
        shell:
            "python workflow/scripts/retrain.py --corpus {input.corpus:q} --codes {input.codes:q}"
            f" --size {ABLATIONS.size} --learner {ABLATIONS.codes}"
            " --transform {params.transform} --seed 1 --settings {params.settings:q}"
            f" --embedding {{params.embedding:q}} {{params.fit}} --scratch {RUNS}/scratch"
            " --model {output.model:q} --curve {output.curve:q}"
            f" --measurement {{output.measurement:q}} {COMPUTE} --threads {{threads}}"
            " --log {log:q}"
