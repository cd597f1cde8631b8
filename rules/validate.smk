"""The staged definitions are checked, and the run fails on an error, with the report kept.

Input   {results}/{model}/manifest.json, {results}/{model}/definitions/
Output  {results}/{model}/report.json, report.txt   every definition, its sources and its checks
        {results}/{model}/passed                    only without an error

Two rules, because Snakemake removes what a failed job wrote.
"""


rule validate:
    input:
        manifest="<results>/{model}/manifest.json",
        dropped="<results>/{model}/dropped.json",
    output:
        json="<results>/{model}/report.json",
        text=report(
            "<results>/{model}/report.txt",
            caption="../report/text.rst",
            category="Kernel definitions",
            labels={"model": "{model}", "content": "report as text"},
        ),
    log:
        "<results>/{model}/logs/validate.log",
    benchmark:
        "<results>/{model}/benchmarks/validate.tsv"
    conda:
        "../environment.yml"
    params:
        folder=subpath(input.manifest, parent=True),
        templates=f"{RUN.settings.results}/cache/templates.json",
        only=lambda wildcards: RUN.config_ids(wildcards.model),
        left_over=RUN.left_over,
        why=RUN.reasons,
        code=digests.code_digest("validate"),
    shell:
        "python scripts/validate.py {params.folder:q}/definitions"
        " --manifest {input.manifest:q}"
        " --dropped {input.dropped:q}"
        " --configs {params.folder:q}/configs"
        " --dumps {params.folder:q}/dumps"
        " --candidates {params.folder:q}/candidates"
        " --derived {params.folder:q}/derived"
        " --templates {params.templates:q}"
        " --only {params.only:q}"
        " --why {params.why:q}"
        " --report-json {output.json:q}"
        " --report-txt {output.text:q}"
        " > {log:q} 2>&1"
        " || test -s {output.json:q}"


rule check:
    input:
        "<results>/{model}/report.json",
    output:
        touch("<results>/{model}/passed"),
    log:
        "<results>/{model}/logs/check.log",
    benchmark:
        "<results>/{model}/benchmarks/check.tsv"
    retries: 0
    conda:
        "../environment.yml"
    shell:
        "bash scripts/logged.sh {log:q} python scripts/check.py {input:q}"
