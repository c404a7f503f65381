# Variants of code learning and of the KD embedding, on a short schedule.

ABLATIONS = PRESET.ablations
ABLATION = f"{RUNS}/ablations/{{name}}"
ABLATED_VECTORS = f"{RUNS}/embedding/{ABLATIONS.baseline}/seed1/vectors.safetensors"
ABLATED = [f"ablations/{variant.name}" for variant in ABLATIONS.variants]


localrules:
    ablations,


if not PRESET.partial:

    rule ablated_codes:
        input:
            vectors=ABLATED_VECTORS,
            corpus=lambda wildcards: counted(variant_learning(wildcards)),
        output:
            codes=f"{ABLATION}/codes.safetensors",
            decoder=f"{ABLATION}/decoder.safetensors",
            history=f"{ABLATION}/history.csv",
        log:
            f"{ABLATION}/codes.log",
        conda:
            ENVIRONMENT
        threads: PRESET.compute.threads
        resources:
            mem_mb=megabytes(ABLATIONS.baseline),
            runtime=60,
        params:
            settings=lambda wildcards: as_json(variant_learning(wildcards)),
            shape=f"--K {ABLATIONS.K} --D {ABLATIONS.D} --transform {ABLATIONS.codes}",
            counts=counts_option,
            code=code("learn_codes"),
        message:
            "Ablation: codes of {wildcards.name}"
        shell:
            "python workflow/scripts/learn_codes.py --vectors {input.vectors:q}"
            " {params.counts} {params.shape} --seed 1 --settings {params.settings:q} --codes {output.codes:q}"
            " --decoder {output.decoder:q} --history {output.history:q}"
            f" {SCRATCH} --threads {{threads}} --log {{log:q}}"

    rule ablation:
        input:
            corpus=f"{DATA}/corpus.safetensors",
            codes=f"{ABLATION}/codes.safetensors",
            vectors=lambda wildcards: (
                ABLATED_VECTORS if variant(wildcards.name).embedding.fit else []
            ),
        output:
            curve=f"{ABLATION}/curve.csv",
            measurement=f"{ABLATION}/measurement.json",
        log:
            f"{ABLATION}/log.txt",
        benchmark:
            f"{ABLATION}/benchmark.tsv"
        conda:
            ENVIRONMENT
        threads: PRESET.compute.threads
        resources:
            mem_mb=lambda wildcards: megabytes(variant_size(wildcards)),
            runtime=lambda wildcards: minutes(
                variant_size(wildcards), variant(wildcards.name).transform
            ),
            gpu=GPU,
            precision=lambda wildcards: precision(variant_size(wildcards)),
        params:
            size=variant_size,
            settings=lambda wildcards: as_json(PRESET.sizes[variant_size(wildcards)]),
            embedding=lambda wildcards: as_json(variant(wildcards.name).embedding),
            transform=lambda wildcards: variant(wildcards.name).transform,
            fit=fit_option,
            learning=lambda wildcards: learning_option(variant_learning(wildcards)),
            code=code("retrain"),
        message:
            "Ablation: {wildcards.name}"
        shell:
            "python workflow/scripts/retrain.py --corpus {input.corpus:q} --codes {input.codes:q}"
            f" --size {{params.size}} --learner {ABLATIONS.codes}"
            " --transform {params.transform} --seed 1 --settings {params.settings:q}"
            " --embedding {params.embedding:q} {params.fit} {params.learning}"
            " --curve {output.curve:q}"
            f" --measurement {{output.measurement:q}} {COMPUTE} {SCRATCH} --threads {{threads}}"
            " --log {log:q}"


rule ablations:
    input:
        measurements=available(ABLATED),
        corpus=f"{DATA}/corpus.safetensors",
        here=MADE_HERE,
        settings=SETTINGS,
    output:
        table=shown("ablations.csv", "Tables"),
        markdown=f"{RESULTS}/ablations.md",
    log:
        f"{RUNS}/report/ablations.log",
    conda:
        ENVIRONMENT
    params:
        code=code("ablations"),
    message:
        "Ablations"
    shell:
        "python workflow/scripts/ablations.py {input.measurements:q}"
        " --settings {input.settings:q} --corpus {input.corpus:q} --table {output.table:q} --markdown {output.markdown:q} --log {log:q}"
