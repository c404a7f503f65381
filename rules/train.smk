# Language models: with an embedding without codes, and retrained from scratch with one of codes.


rule train_model:
    input:
        corpus=of("text", "corpus.safetensors"),
        codes=of("codes", "codes.safetensors"),
        vectors=of("vectors", "vectors.safetensors"),
    output:
        model="runs/models/{address}/model.safetensors",
        curve="runs/models/{address}/curve.csv",
        measurement="runs/models/{address}/measurement.json",
    log:
        "runs/models/{address}/log.txt",
    benchmark:
        "runs/models/{address}/benchmark.tsv"
    threads: PRESET.compute.threads
    resources:
        mem_mb=lambda wildcards: megabytes(run(wildcards), GPU),
        runtime=lambda wildcards: minutes(run(wildcards), PLAN.tokens, GPU),
        gpu=GPU,
    params:
        title=title,
        settings=settings,
        identity=identity,
        names=lambda wildcards: run(wildcards).names,
        codes=option("codes"),
        vectors=option("vectors"),
        precision=lambda wildcards: precision_of(
            PRESET.compute, DEVICE, run(wildcards).names["model"]
        ),
    message:
        "Language model: {params.title}"
    shell:
        "python workflow/scripts/train.py --settings {params.settings:q}"
        " --identity {params.identity:q} --address {wildcards.address} --title {params.title:q}"
        " --model-name {params.names[model]} --method {params.names[method]}"
        " --corpus {input.corpus:q} {params.codes} {params.vectors}"
        " --model {output.model:q} --curve {output.curve:q} --measurement {output.measurement:q}"
        f" --device {DEVICE} --precision {{params.precision}}"
        f" {SCRATCH} --threads {{threads}} --log {{log:q}}"


use rule train_model as retrain_model with:
    output:
        model="runs/retrained/{address}/model.safetensors",
        curve="runs/retrained/{address}/curve.csv",
        measurement="runs/retrained/{address}/measurement.json",
    log:
        "runs/retrained/{address}/log.txt",
    benchmark:
        "runs/retrained/{address}/benchmark.tsv"
