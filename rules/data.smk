# The text: downloaded, read from a folder, or generated.


rule corpus:
    output:
        f"{DATA}/corpus.safetensors",
    log:
        f"{RUNS}/logs/corpus.log",
    params:
        corpus=as_json(PRESET.corpus),
        code=code(f"corpus_{PRESET.corpus.kind}"),
    message:
        "Text: {PRESET.corpus.kind}"
    shell:
        f"python workflow/scripts/corpus_{PRESET.corpus.kind}.py --settings {{params.corpus:q}}"
        " --corpus {output:q} --log {log:q}"
