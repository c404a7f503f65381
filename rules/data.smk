# The text: downloaded, read from a folder, or generated.


rule corpus:
    output:
        f"{DATA}/corpus.safetensors",
    log:
        f"{RUNS}/logs/corpus.log",
    params:
        corpus=as_json(PRESET.corpus),
        code=code("make_corpus"),
    message:
        "Text: {PRESET.corpus.kind}"
    shell:
        "python workflow/scripts/make_corpus.py --settings {params.corpus:q}"
        " --corpus {output:q} --log {log:q}"
