# The pretrained vectors from which codes are learned.


rule embedding:
    input:
        corpus=f"{DATA}/corpus.safetensors",
        model=f"{RUNS}/baseline/{{size}}/seed{{seed}}/model.safetensors",
    output:
        f"{RUNS}/embedding/{{size}}/seed{{seed}}/vectors.safetensors",
    log:
        f"{RUNS}/embedding/{{size}}/seed{{seed}}/log.txt",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("extract_embedding"),
    message:
        "Embedding: of the {wildcards.size} baseline, seed {wildcards.seed}"
    shell:
        "python workflow/scripts/extract_embedding.py --corpus {input.corpus:q}"
        " --model {input.model:q} --vectors {output:q} --log {log:q}"
