# The checked settings, for the scripts and beside the results.


localrules:
    settings,


rule settings:
    output:
        here=SETTINGS,
        published=f"{RESULTS}/settings.json",
    log:
        f"{RUNS}/report/settings.log",
    conda:
        ENVIRONMENT
    params:
        text=PRESET.model_dump_json(
            exclude={"data_mirror", "partial", "compute"}, indent=2
        ),
    message:
        "Settings of the preset {PRESET.preset}"
    shell:
        "for file in {output:q}; do printf '%s\\n' {params.text:q} > \"$file.part\";"
        ' mv "$file.part" "$file"; done 2> {log:q}'
