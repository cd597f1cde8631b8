"""What would come of a run, told from config.json alone: printed, and nothing is written.

snakemake inventory --cores 1 --config model=kimi-k2
"""


rule inventory:
    log:
        "<results>/logs/inventory.log",
    benchmark:
        "<results>/logs/inventory.tsv"
    conda:
        "../environment.yml"
    params:
        words=RUN.settings.words(),
    shell:
        "python scripts/inventory.py {params.words} 2>&1 | tee {log:q}"
