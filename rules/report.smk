"""A run's pages: one for each model, a table over several, and a summary in the terminal.

Input   {results}/{model}/report.json and what lies beside it
Output  {results}/{model}/report.html   self-contained, for a browser
        {results}/index.html            only for a run of several models

`snakemake --report report.zip` packs them with Snakemake's own statistics.
"""


rule page:
    input:
        "<results>/{model}/report.json",
        "<results>/{model}/manifest.json",
    output:
        report(
            "<results>/{model}/report.html",
            caption="../report/page.rst",
            category="Kernel definitions",
            labels={"model": "{model}", "content": "report page"},
        ),
    log:
        "<results>/{model}/logs/page.log",
    benchmark:
        "<results>/{model}/benchmarks/page.tsv"
    conda:
        "../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        code=digests.code_digest("page"),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/page.py {params.folder:q}"


rule index:
    input:
        RUN.per_model("report.html"),
        expand(RUN.settings.results / "{model}/dropped.json", model=RUN.plans),
    output:
        report(
            "<results>/index.html",
            caption="../report/index.rst",
            category="All models",
            labels={"model": "all", "content": "table over models"},
        ),
    log:
        "<results>/logs/index.log",
    conda:
        "../environment.yml"
    params:
        folders=[str(RUN.settings.results / model) for model in RUN.plans],
        code=digests.code_digest("page"),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/page.py {params.folders:q}"
        " --index {output:q}"


onsuccess:
    if workflow.is_main_process:
        try:
            invocation.end(RUN, failed=False, published=PUBLISHES)
        except KerneldefsError as error:
            raise SystemExit(f"error: {error}") from None


# A run that failed for some models still says what the others came to.
onerror:
    if workflow.is_main_process:
        invocation.end(RUN, failed=True)
