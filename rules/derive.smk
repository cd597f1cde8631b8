"""What a model calls without FlashInfer becomes definitions, by FlashInfer's own templates or ours.

Input   {results}/{model}/configs/{cfg}.json, {results}/{model}/dumps/{cfg}/ (not with
        method: predict), {results}/cache/templates.json
Output  {results}/{model}/derived/{cfg}/   like candidates/{cfg}/

The templates of the installed FlashInfer are read once, since it takes torch and half a minute.
"""


rule templates:
    output:
        "<results>/cache/templates.json",
    log:
        "<results>/cache/templates.log",
    benchmark:
        "<results>/cache/templates.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    params:
        code=digests.code_digest("templates"),
        versions=RUN.versions(),
    shell:
        "bash scripts/logged.sh {log:q}"
        ' "$CAPTURE_PYTHON" scripts/templates.py --out {output:q}'


rule derive:
    input:
        unpack(RUN.seen),
        config="<results>/{model}/configs/{cfg}.json",
        templates="<results>/cache/templates.json",
    output:
        directory("<results>/{model}/derived/{cfg}"),
    log:
        "<results>/{model}/logs/derive/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/derive/{cfg}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        options=RUN.derive_options(),
        seen=lambda wildcards, input: (
            ["--capture", str(input.dump)] if "dump" in input.keys() else []
        ),
        code=digests.code_digest("derive"),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/derive.py {input.config:q}"
        " --model-config {params.model_config:q}"
        " --templates {input.templates:q}"
        " --out {output:q}"
        " {params.seen:q}"
        " {params.options:q}"
