"""What earlier settings left over is removed, on request alone: snakemake prune --cores 1

Input   none: what is kept follows from the settings
Output  none: it removes {results}/{model}/*/{cfg} of configs that are not asked for any more, and
        temporary files of commands that were killed
"""


rule prune:
    log:
        "<results>/logs/prune.log",
    conda:
        "../environment.yml"
    params:
        kept=RUN.kept(),
    shell:
        "python scripts/prune.py {params.kept:q} 2>&1 | tee {log:q}"
