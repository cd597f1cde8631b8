"""Staged definitions go into a clone of the dataset; asked for by name, and never part of `all`.

    snakemake publish --cores all --config model=kimi-k2 dataset=../flashinfer-trace

Input   {results}/{model}/passed of every model, so nothing is published that has an error
Output  {dataset}/definitions/   new files, and tags of files that are there
        {results}/{model}/handoff/

No output is declared: it runs whenever it is asked for, and the second time finds nothing to do.
"""

PUBLISHES = "publish" in sys.argv[1:]
if PUBLISHES and workflow.is_main_process:
    try:
        invocation.prepare_publish(RUN, dry_run=DRY_RUN)
    except KerneldefsError as error:
        raise SystemExit(f"error: {error}") from None


rule publish:
    input:
        RUN.per_model("passed", "report.json", "manifest.json"),
    log:
        "<results>/logs/publish.log",
    conda:
        "../environment.yml"
    params:
        folders=RUN.results_folders(),
        dataset=str(RUN.settings.dataset or ""),
        pull_requests=RUN.settings.pull_requests,
    shell:
        "python scripts/publish.py {params.folders:q} --dataset {params.dataset:q}"
        " --pull-requests {params.pull_requests:q} 2>&1 | tee {log:q}"
