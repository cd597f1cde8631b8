"""A config is captured with the other backend as well, and the two captures are compared.

Input   {results}/{model}/configs/{cfg}.json, {results}/{model}/dumps/{cfg}/
Output  {results}/{model}/others/{cfg}/       the capture by the other backend
        {results}/{model}/parity/{cfg}.json   what both saw, and every difference as a sentence

Asked for by the target `parity`; one of the two captures needs the GPUs of the config. A comparison
that finds differences is kept: it is a result.
"""


rule capture_other:
    input:
        config="<results>/{model}/configs/{cfg}.json",
        fetched=ancient(
            lambda wildcards: RUN.others().fetched(wildcards.model, wildcards.cfg)
        ),
    output:
        directory("<results>/{model}/others/{cfg}"),
    log:
        "<results>/{model}/logs/others/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/others/{cfg}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=lambda wildcards: RUN.others().gpus(wildcards.model, wildcards.cfg),
        gpu_model=lambda wildcards: RUN.others().gpu_model(
            wildcards.model, wildcards.cfg
        ),
        mem_mb=lambda wildcards, attempt: attempt
        * RUN.others().memory(wildcards.model, wildcards.cfg),
        runtime=lambda wildcards, attempt: attempt
        * RUN.others().minutes(wildcards.model, wildcards.cfg),
        nodes=1,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        options=lambda wildcards: RUN.others().capture_options(
            wildcards.model, wildcards.cfg
        ),
        code=digests.code_digest("capture"),
        versions=RUN.versions(),
    shell:
        "KERNELDEFS_GRANTED_GPUS={resources.gpu} bash scripts/logged.sh {log:q}"
        ' "$CAPTURE_PYTHON" scripts/capture.py {input.config:q}'
        " --model-config {params.model_config:q}"
        " {params.options:q}"
        " --out {output:q}"


rule compare:
    input:
        "<results>/{model}/dumps/{cfg}",
        "<results>/{model}/others/{cfg}",
    output:
        "<results>/{model}/parity/{cfg}.json",
    log:
        "<results>/{model}/logs/parity/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/parity/{cfg}.tsv"
    conda:
        "../environment.yml"
    params:
        code=digests.code_digest("capture"),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/parity.py {input:q}"
        " --json {output:q} --report-only"


# Every config that one node can serve, captured with both backends and compared.
rule parity:
    input:
        RUN.comparable(),
    log:
        "<results>/logs/parity.log",
    conda:
        "../environment.yml"
    params:
        left_out=RUN.incomparable(),
    shell:
        "printf '%s\\n' {params.left_out:q} | tee {log:q}"
