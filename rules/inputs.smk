# The text, and pretrained word vectors: downloaded, read, generated, or of a trained model.


rule read_text:
    output:
        "runs/texts/{address}/corpus.safetensors",
    log:
        "runs/texts/{address}/log.txt",
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        title=title,
        settings=settings,
    message:
        "{params.title}"
    shell:
        "python workflow/scripts/text.py --settings {params.settings:q}"
        " --corpus {output:q} --log {log:q}"


rule read_vectors:
    input:
        corpus=of("text", "corpus.safetensors"),
        model=trained,
    output:
        "runs/vectors/{address}/vectors.safetensors",
    log:
        "runs/vectors/{address}/log.txt",
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        title=title,
        settings=settings,
        corpus=option("corpus"),
        model=option("model"),
    message:
        "{params.title}"
    shell:
        "python workflow/scripts/vectors.py --settings {params.settings:q}"
        " {params.corpus} {params.model} --vectors {output:q} --log {log:q}"
