"""The candidates of all configs become one definition per kernel, with tags united over configs.

Input   {results}/{model}/candidates/{cfg}/ of every config, {results}/{model}/dropped.json
Output  {results}/{model}/definitions/{op_type}/{name}.json   not known to Snakemake by name
        {results}/{model}/manifest.json                       every staged file, sha256 and size,
                                                              and what all was made from and with
        {results}/{model}/changes.json                        what the last staging that changed
                                                              something changed; not there before
        {results}/{model}/staged                              what `state` was, see below

References run here, a processor and 2 GB for each at a time: what fails is not staged, what agrees
with an independent implementation is tagged verified. Outcomes are kept in
{results}/cache/references; of models that are staged at once, one runs what they share.

One job per model: a rule per definition would cost 0.1 s each. A staged file that is deleted or
edited still reruns it, because `state` tells the files on disk from those in the manifest.
"""


rule stage:
    input:
        RUN.candidates,
    output:
        manifest="<results>/{model}/manifest.json",
        state="<results>/{model}/staged",
    log:
        "<results>/{model}/logs/stage.log",
    benchmark:
        "<results>/{model}/benchmarks/stage.tsv"
    conda:
        "../environment.yml"
    threads: 1 if len(RUN.plans) > 1 else 2
    resources:
        mem_mb=lambda wildcards, threads: 300 + 2000 * threads,
    params:
        folder=subpath(output.manifest, parent=True),
        options=RUN.stage_options(),
        cookbook=RUN.settings.cookbook,
        cookbook_files=RUN.cookbook_files(),
        state=RUN.staged_state,
        dataset=digests.tree_state(RUN.settings.dataset),
        requests=digests.file_digest(RUN.settings.requests),
        code=digests.code_digest("stage"),
    shell:
        "bash scripts/logged.sh {log:q} python scripts/stage.py {input:q}"
        " --model {wildcards.model:q}"
        " --out {params.folder:q}/definitions"
        " --manifest {output.manifest:q}"
        " --upstream {params.folder:q}/upstream"
        " --configs {params.folder:q}/configs"
        " --dumps {params.folder:q}/dumps"
        " --cookbook {params.cookbook:q}"
        " --cookbook-files {params.cookbook_files:q}"
        " --jobs {threads}"
        " {params.options:q}"
        " && printf '%s' {params.state:q} > {output.state:q}"
