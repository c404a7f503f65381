# Table 2: codes that words are forced to share.

TABLE2 = PRESET.table2


if TABLE2.vectors.kind == "baseline":
    EMBEDDING = [f"embedding/{TABLE2.vectors.size}/seed1"]
    TABLE2_VECTORS = (
        available(EMBEDDING, "vectors.safetensors")
        or f"{RUNS}/{EMBEDDING[0]}/vectors.safetensors"
    )
    # With `partial` nothing trains the model that it would be taken from.
    MODEL = f"{RUNS}/baseline/{TABLE2.vectors.size}/seed1/model.safetensors"
    if PRESET.partial and not (
        available(EMBEDDING, "vectors.safetensors") or os.path.exists(MODEL)
    ):
        raise WorkflowError(
            f"partial: Table 2 needs {TABLE2_VECTORS}, which is not here;"
            " the target embeddings makes it"
        )
else:
    TABLE2_VECTORS = f"{DATA}/vectors.safetensors"

    rule vectors:
        input:
            local(TABLE2.vectors.path) if TABLE2.vectors.kind == "file" else [],
        output:
            TABLE2_VECTORS,
        log:
            f"{DATA}/vectors.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            settings=as_json(TABLE2.vectors),
            own=lambda wildcards: content([getattr(TABLE2.vectors, "path", "")]),
            code=code("get_vectors"),
        message:
            "Word vectors: {TABLE2.vectors.title}"
        shell:
            "python workflow/scripts/get_vectors.py --settings {params.settings:q}"
            " --vectors {output:q} --log {log:q}"


rule table2_codes:
    input:
        vectors=TABLE2_VECTORS,
    output:
        codes=f"{RUNS}/table2/codes.safetensors",
        decoder=f"{RUNS}/table2/decoder.safetensors",
        history=f"{RUNS}/table2/history.csv",
    log:
        f"{RUNS}/table2/log.txt",
    benchmark:
        f"{RUNS}/table2/benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: PRESET.compute.threads
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=as_json(TABLE2.learning),
        shape=f"--K {TABLE2.K} --D {TABLE2.D} --transform {TABLE2.codes} --seed 1",
        code=code("learn_codes"),
    message:
        "Codes: Table 2, K = {TABLE2.K}, D = {TABLE2.D}"
    shell:
        "python workflow/scripts/learn_codes.py --vectors {input.vectors:q} {params.shape}"
        " --settings {params.settings:q} --codes {output.codes:q} --decoder {output.decoder:q}"
        f" --history {{output.history:q}} {SCRATCH} --threads {{threads}} --log {{log:q}}"


rule table2:
    input:
        vectors=TABLE2_VECTORS,
        codes=f"{RUNS}/table2/codes.safetensors",
        here=MADE_HERE,
    output:
        table=shown("table2.csv", "Tables"),
        listing=f"{RESULTS}/table2.md",
        similarity=f"{RESULTS}/table2_similarity.csv",
    log:
        f"{RUNS}/report/table2.log",
    conda:
        ENVIRONMENT
    params:
        source=TABLE2.vectors.title,
        code=code("table2"),
    message:
        "Table 2"
    shell:
        "python workflow/scripts/table2.py --vectors {input.vectors:q} --codes {input.codes:q}"
        " --source {params.source:q} --table {output.table:q} --listing {output.listing:q}"
        " --similarity {output.similarity:q} --log {log:q}"


rule figure1:
    input:
        vectors=TABLE2_VECTORS,
        codes=f"{RUNS}/table2/codes.safetensors",
        decoder=f"{RUNS}/table2/decoder.safetensors",
        here=MADE_HERE,
    output:
        png=shown("figure1.png", "Figures"),
        pdf=f"{RESULTS}/figure1.pdf",
    log:
        f"{RUNS}/report/figure1.log",
    conda:
        ENVIRONMENT
    params:
        code=code("figure1"),
    message:
        "Figure 1, with the codes of Table 2"
    shell:
        "python workflow/scripts/figure1.py --vectors {input.vectors:q}"
        " --codes {input.codes:q} --decoder {input.decoder:q}"
        " --png {output.png:q} --pdf {output.pdf:q} --log {log:q}"


rule code_space:
    input:
        vectors=TABLE2_VECTORS,
        codes=f"{RUNS}/table2/codes.safetensors",
        here=MADE_HERE,
    output:
        png=shown("code_space.png", "Figures"),
        pdf=f"{RESULTS}/code_space.pdf",
        neighbours=shown("neighbours.csv", "Tables"),
    log:
        f"{RUNS}/report/code_space.log",
    conda:
        ENVIRONMENT
    params:
        code=code("code_space"),
    message:
        "The space of Table 2's codes"
    shell:
        "python workflow/scripts/code_space.py --vectors {input.vectors:q}"
        " --codes {input.codes:q} --png {output.png:q} --pdf {output.pdf:q}"
        " --neighbours {output.neighbours:q} --log {log:q}"
