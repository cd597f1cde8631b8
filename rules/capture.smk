"""A serving config is run, and every kernel call is recorded.

Input   {results}/{model}/configs/{cfg}.json
Output  {results}/{model}/dumps/{cfg}/   FlashInfer's dump, calls.jsonl and capture.json

A simulated capture takes one core, about 1 GB and no GPU.
"""


rule capture:
    input:
        "<results>/{model}/configs/{cfg}.json",
    output:
        directory("<results>/{model}/dumps/{cfg}"),
    log:
        "<results>/{model}/logs/capture/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/capture/{cfg}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=lambda wildcards: RUN.gpus(wildcards.model, wildcards.cfg),
        mem_mb=1500,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        backend=RUN.backend,
        code=planning.code_digest("capture"),
        versions=planning.versions(),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/capture.py {input:q}"
        " --model-config {params.model_config:q}"
        " --backend {params.backend:q}"
        " --out {output:q}"
