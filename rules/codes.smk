# Codes: learned from vectors, or drawn at random. Figure 3 (a, b): codes as clusters. Word vectors
# compressed without a language model.


rule make_codes:
    input:
        corpus=corpus_of_words,
        vectors=of("vectors", "vectors.safetensors"),
        start=of("start", "codes.safetensors"),
    output:
        codes="runs/codes/{address}/codes.safetensors",
        history="runs/codes/{address}/history.csv",
        error="runs/codes/{address}/error.json",
    log:
        "runs/codes/{address}/log.txt",
    benchmark:
        "runs/codes/{address}/benchmark.tsv"
    threads: PRESET.compute.threads
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        title=title,
        settings=settings,
        corpus=option("corpus"),
        vectors=option("vectors"),
        start=option("start"),
        # Where the learner has one: random codes have none.
        decoder=lambda wildcards, output: Path(output.codes).with_name(
            "decoder.safetensors"
        ),
    message:
        "{params.title}"
    shell:
        "python workflow/scripts/codes.py --settings {params.settings:q}"
        " --address {wildcards.address} --title {params.title:q}"
        " {params.corpus} {params.vectors} {params.start}"
        " --codes {output.codes:q} --decoder {params.decoder:q} --history {output.history:q}"
        " --error {output.error:q}"
        f" --device {CODES_DEVICE} {SCRATCH} --threads {{threads}} --log {{log:q}}"


rule cluster:
    output:
        "runs/clustering/{address}/points.csv",
    log:
        "runs/clustering/{address}/log.txt",
    threads: PRESET.compute.threads
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        title=title,
        settings=settings,
    message:
        "{params.title}"
    shell:
        "python workflow/scripts/clustering.py --settings {params.settings:q}"
        " --points {output:q} --threads {threads} --log {log:q}"


rule reconstruct:
    input:
        vectors=of("vectors", "vectors.safetensors"),
    output:
        "runs/reconstructions/{address}/measurement.json",
    log:
        "runs/reconstructions/{address}/log.txt",
    threads: PRESET.compute.threads
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        title=title,
        settings=settings,
        identity=identity,
    message:
        "{params.title}"
    shell:
        "python workflow/scripts/reconstruct.py --settings {params.settings:q}"
        " --identity {params.identity:q} --address {wildcards.address}"
        " --vectors {input.vectors:q} --measurement {output:q} --threads {threads} --log {log:q}"
