"""A serving config is run, and every kernel call is recorded.

Input   {results}/{model}/configs/{cfg}.json
Output  {results}/{model}/dumps/{cfg}/   FlashInfer's dump, calls.jsonl and capture.json

A simulated capture takes one core, about 1 GB and no GPU, and runs where Snakemake does, since a
submission would cost more than the capture. One with GPUs is a job of the cluster; a retry asks for
more memory and time. A capture that fails by itself is written down as failed, and the run fails at
its end: the other configs are staged.
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
    localrule: not RUN.submits_captures
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=lambda wildcards: RUN.gpus(wildcards.model, wildcards.cfg),
        gpu_model=lambda wildcards: RUN.gpu_model(wildcards.model, wildcards.cfg),
        mem_mb=lambda wildcards, attempt: attempt
        * RUN.memory(wildcards.model, wildcards.cfg),
        runtime=lambda wildcards, attempt: attempt
        * RUN.minutes(wildcards.model, wildcards.cfg),
        nodes=1,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        options=lambda wildcards: RUN.capture_options(wildcards.model, wildcards.cfg),
        code=digests.code_digest("capture"),
        versions=RUN.versions(),
    shell:
        "KERNELDEFS_GRANTED_GPUS={resources.gpu} bash scripts/logged.sh {log:q}"
        ' "$CAPTURE_PYTHON" scripts/capture.py {input:q}'
        " --model-config {params.model_config:q}"
        " {params.options:q}"
        " --out {output:q}"
        " || python scripts/failed.py $? {log:q} {output:q}"
