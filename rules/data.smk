# The text: downloaded, read from a folder, or generated.


localrules:
    data,


rule data:
    input:
        f"{DATA}/corpus.safetensors",
        lambda wildcards: (
            TABLE2_VECTORS
            if PRESET.table2 and PRESET.table2.vectors.kind != "baseline"
            else []
        ),


if PRESET.corpus.kind == "ptb":

    # No hash of its code: what is fetched is checked by its SHA-256, so that how it is fetched
    # cannot change a result.
    rule fetch:
        output:
            **PRESET.corpus.files(DATA),
        log:
            f"{DATA}/fetch.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=30,
        params:
            folder=lambda wildcards, output: os.path.dirname(output.train),
        message:
            "Text: the Penn Treebank"
        shell:
            "python workflow/scripts/fetch_ptb.py --folder {params.folder:q} --log {log:q}"


if PRESET.corpus.kind == "generated":

    rule generated_corpus:
        output:
            f"{DATA}/corpus.safetensors",
        log:
            f"{DATA}/corpus.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            text=f"--tokens {PRESET.corpus.tokens} --seed {PRESET.corpus.seed}",
            code=code("generate_corpus"),
        message:
            "Text: drawn from the grammar"
        shell:
            "python workflow/scripts/generate_corpus.py {params.text}"
            " --corpus {output:q} --log {log:q}"

else:

    rule corpus:
        input:
            **{
                split: local(path) if path in OWN else path
                for split, path in PRESET.corpus.files(DATA).items()
            },
        output:
            f"{DATA}/corpus.safetensors",
        log:
            f"{DATA}/corpus.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            own=lambda wildcards: content(PRESET.corpus.files(DATA).values()),
            code=code("index_corpus"),
        message:
            "Corpus: words and their numbers"
        shell:
            "python workflow/scripts/index_corpus.py --train {input.train:q}"
            " --valid {input.valid:q} --test {input.test:q} --corpus {output:q}"
            f" --kind {PRESET.corpus.kind} --log {{log:q}}"
