# Codes: random, or learned with a linear or an LSTM transform.

CODE = f"{RUNS}/codes/{{size}}"
SHAPE = "K{K}_D{D}/seed{seed}"


rule random_codes:
    input:
        corpus=f"{DATA}/corpus.safetensors",
    output:
        f"{CODE}/random/{SHAPE}/codes.safetensors",
    log:
        f"{CODE}/random/{SHAPE}/log.txt",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("random_codes"),
    message:
        "Codes: random, K = {wildcards.K}, D = {wildcards.D}, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/random_codes.py --corpus {input.corpus:q} --K {wildcards.K}"
        " --D {wildcards.D} --seed {wildcards.seed} --codes {output:q} --log {log:q}"


rule learned_codes:
    input:
        vectors=f"{RUNS}/embedding/{{size}}/seed{{seed}}/vectors.safetensors",
        corpus=lambda wildcards: counted(getattr(PRESET.code_learning, wildcards.codes)),
    output:
        codes=f"{CODE}/{{codes}}/{SHAPE}/codes.safetensors",
        decoder=f"{CODE}/{{codes}}/{SHAPE}/decoder.safetensors",
        history=f"{CODE}/{{codes}}/{SHAPE}/history.csv",
    log:
        f"{CODE}/{{codes}}/{SHAPE}/log.txt",
    benchmark:
        f"{CODE}/{{codes}}/{SHAPE}/benchmark.tsv"
    wildcard_constraints:
        codes="|".join(LEARNERS),
    conda:
        ENVIRONMENT
    threads: PRESET.compute.threads
    resources:
        mem_mb=lambda wildcards: megabytes(wildcards.size),
        runtime=60,
    params:
        settings=lambda wildcards: as_json(
            getattr(PRESET.code_learning, wildcards.codes)
        ),
        transform=lambda wildcards: LEARNERS[wildcards.codes],
        counts=counts_option,
        code=code("learn_codes"),
    message:
        "Codes: {wildcards.codes}, of the {wildcards.size} embedding,"
        " K = {wildcards.K}, D = {wildcards.D}, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/learn_codes.py --vectors {input.vectors:q}"
        " {params.counts} --K {wildcards.K} --D {wildcards.D} --transform {params.transform}"
        " --settings {params.settings:q} --seed {wildcards.seed} --codes {output.codes:q}"
        " --decoder {output.decoder:q} --history {output.history:q}"
        f" {SCRATCH} --threads {{threads}} --log {{log:q}}"
