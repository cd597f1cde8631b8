"""A config is captured with the other backend as well, and the two captures are compared.

Input   {results}/{model}/configs/{cfg}.json, {results}/{model}/dumps/{cfg}/
Output  {results}/{model}/parity/{cfg}.json   what both saw, and every difference as a sentence

Asked for by the target `parity`; it needs the GPUs of the config. The comparison is kept when it
finds differences.
"""


rule compare:
    input:
        config="<results>/{model}/configs/{cfg}.json",
        dump="<results>/{model}/dumps/{cfg}",
    output:
        "<results>/{model}/parity/{cfg}.json",
    log:
        "<results>/{model}/logs/parity/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/parity/{cfg}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=lambda wildcards: RUN.config(wildcards.model, wildcards.cfg).tp,
        mem_mb=lambda wildcards, attempt: attempt * 24000,
        runtime=lambda wildcards, attempt: 45 * attempt,
        nodes=1,
    params:
        model_config=lambda wildcards: RUN.model_config(wildcards.model),
        other=lambda wildcards: RUN.other_backend(wildcards.model, wildcards.cfg),
        code=digests.code_digest("capture"),
        versions=RUN.versions(),
    shell:
        "KERNELDEFS_GRANTED_GPUS={resources.gpu} bash scripts/logged.sh {log:q}"
        ' "$CAPTURE_PYTHON" scripts/capture.py {input.config:q}'
        " --model-config {params.model_config:q}"
        " --backend {params.other:q}"
        " --out {resources.tmpdir:q}/kerneldefs-parity/{wildcards.model}-{wildcards.cfg}"
        ' && ("$CAPTURE_PYTHON" scripts/parity.py {input.dump:q}'
        " {resources.tmpdir:q}/kerneldefs-parity/{wildcards.model}-{wildcards.cfg}"
        " --json {output:q}"
        " >> {log:q} 2>&1 || test -s {output:q})"


# Every config, captured with both backends and compared.
rule parity:
    input:
        RUN.per_config("parity/{cfg}.json"),
