# A table compressed by many jobs: the form and its books by one, the rows by as many as are asked
# for, all of it put together by one. What the jobs hand on is a checkpoint of `kdcore compress`.

import os
from pathlib import Path

from kdcore.errors import KDError
from kdlab.compression import Compression
from kdlab.own import check_there
from kdlab.progress import follow
from kdlab.unlock import note_host

try:
    COMPRESSION = Compression.of(config, os.path.relpath(workflow.configfiles[-1]))
    if workflow.is_main_process:
        check_there(map(Path, COMPRESSION.files))
except KDError as error:
    sys.exit(f"error: {error}")
PARTS = COMPRESSION.folder
PROGRESS = (
    follow(os.path.dirname(COMPRESSION.out)) if workflow.is_main_process else None
)
COMPRESS = (
    "python workflow/scripts/compress.py --settings {params.settings:q}"
    f" --parts {PARTS} --threads {{threads}} --log {{log:q}}"
)


onstart:
    if workflow.execution_settings.lock:
        note_host()


wildcard_constraints:
    share="[0-9]+",


rule learn_books:
    input:
        COMPRESSION.files,
    output:
        f"{PARTS}/books",
    log:
        f"{PARTS}/books.log",
    threads: COMPRESSION.threads
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=COMPRESSION.model_dump_json(),
    message:
        "The form of {COMPRESSION.out}, and its books"
    shell:
        f"{COMPRESS} && touch {{output:q}}"


rule encode_rows:
    input:
        books=f"{PARTS}/books",
    output:
        f"{PARTS}/rows-{{share}}",
    log:
        f"{PARTS}/rows-{{share}}.log",
    threads: COMPRESSION.threads
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=COMPRESSION.model_dump_json(),
    message:
        "Codes of {COMPRESSION.out}, share {wildcards.share} of {COMPRESSION.blocks}"
    shell:
        f"{COMPRESS} --share {{wildcards.share}} && touch {{output:q}}"


rule compress_table:
    input:
        files=COMPRESSION.files,
        rows=expand(f"{PARTS}/rows-{{share}}", share=range(COMPRESSION.blocks)),
    output:
        COMPRESSION.out,
    log:
        f"{PARTS}/table.log",
    threads: COMPRESSION.threads
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=COMPRESSION.model_dump_json(),
    message:
        "{COMPRESSION.out} of all shares"
    shell:
        f"{COMPRESS} --out {{output:q}}"
