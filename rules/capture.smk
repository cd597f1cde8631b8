"""A serving config is run, and every kernel call is recorded.

Input   {results}/{model}/configs/{cfg}.json
Output  {results}/{model}/dumps/{cfg}/   FlashInfer's dump, calls.jsonl and capture.json
        {results}/{model}/weights.json   where a model's weights are, for load_format=auto
        {results}/cache/cubins.json      where FlashInfer's precompiled kernels are, for sm_100

A simulated capture takes one core, about 1 GB and no GPU, and runs where Snakemake does, since a
submission would cost more than the capture. One with GPUs is a job of the cluster; a retry asks for
more memory and time. A capture that fails by itself is written down as failed, and the run fails at
its end: the other configs are staged.

A job with GPUs may have no network, so what it cannot do without is fetched before, where Snakemake
runs. Fetched again, it captures nothing again.
"""


rule fetch_weights:
    output:
        "<results>/{model}/weights.json",
    log:
        "<results>/{model}/logs/weights.log",
    conda:
        "../environment.yml"
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        repo_id=lambda wildcards: RUN.plans[wildcards.model].repo_id,
        revision=lambda wildcards: RUN.plans[wildcards.model].revision,
    shell:
        'bash scripts/logged.sh {log:q} "$CAPTURE_PYTHON" scripts/fetch_for_gpus.py weights'
        " --model-config {params.model_config:q}"
        " --repo-id {params.repo_id:q}"
        " --revision {params.revision:q}"
        " --out {output:q}"


rule fetch_cubins:
    output:
        "<results>/cache/cubins.json",
    log:
        "<results>/logs/cubins.log",
    conda:
        "../environment.yml"
    params:
        versions=RUN.versions(),
    shell:
        'bash scripts/logged.sh {log:q} "$CAPTURE_PYTHON" scripts/fetch_for_gpus.py cubins'
        " --out {output:q}"


rule capture:
    input:
        config="<results>/{model}/configs/{cfg}.json",
        fetched=ancient(lambda wildcards: RUN.fetched(wildcards.model, wildcards.cfg)),
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
        ' "$CAPTURE_PYTHON" scripts/capture.py {input.config:q}'
        " --model-config {params.model_config:q}"
        " {params.options:q}"
        " --out {output:q}"
        " || python scripts/failed.py $? {log:q} {output:q}"
