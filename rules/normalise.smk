"""What a capture dumped is checked against what was called, repaired, or put aside with a reason.

Input   {results}/{model}/configs/{cfg}.json, {results}/{model}/dumps/{cfg}/
Output  {results}/{model}/candidates/{cfg}/   definitions, index.json and quarantine.json
"""


rule normalise:
    input:
        config="<results>/{model}/configs/{cfg}.json",
        dump="<results>/{model}/dumps/{cfg}",
    output:
        directory("<results>/{model}/candidates/{cfg}"),
    log:
        "<results>/{model}/logs/normalise/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/normalise/{cfg}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        code=digests.code_digest("normalise"),
        versions=RUN.versions(),
    shell:
        "bash scripts/logged.sh {log:q}"
        ' "$CAPTURE_PYTHON" scripts/normalise.py {input.config:q} {input.dump:q}'
        " --model-config {params.model_config:q}"
        " --out {output:q}"
