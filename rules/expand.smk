"""Cookbook entries and a model's config.json become serving configs, one file each.

Input   none: the plan is made while Snakemake reads its files
Output  {results}/{model}/configs/{cfg}.json   one serving config, rewritten only when it differs
        {results}/{model}/dropped.json         what the cookbook asks for and is not captured, why
        {results}/planned                      never: asked for where a model has no config, to fail
"""


rule expand:
    output:
        "<results>/{model}/configs/{cfg}.json",
    log:
        "<results>/{model}/logs/expand/{cfg}.log",
    benchmark:
        "<results>/{model}/benchmarks/expand/{cfg}.tsv"
    conda:
        "../environment.yml"
    params:
        text=lambda wildcards: RUN.config_text(wildcards.model, wildcards.cfg),
    shell:
        "printf '%s' {params.text:q} 2> {log:q} > {output:q}.new && mv {output:q}.new {output:q}"


rule dropped:
    output:
        "<results>/{model}/dropped.json",
    log:
        "<results>/{model}/logs/dropped.log",
    benchmark:
        "<results>/{model}/benchmarks/dropped.tsv"
    conda:
        "../environment.yml"
    params:
        text=lambda wildcards: RUN.dropped_text(wildcards.model),
    shell:
        "printf '%s' {params.text:q} 2> {log:q} > {output:q}.new && mv {output:q}.new {output:q}"


# The other models are captured all the same; that one is missing is a failure of the run.
rule planned:
    output:
        touch("<results>/planned"),
    log:
        "<results>/logs/planned.log",
    conda:
        "../environment.yml"
    params:
        text=RUN.unplanned_text(),
    shell:
        "printf '%s\\n' {params.text:q} | tee {log:q} >&2; exit 1"
