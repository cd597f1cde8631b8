"""Kernel definitions of the models in a serving cookbook.

    snakemake --cores all --config model=kimi-k2

config/README.md explains every key; the rules stand in the order the data flows.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/expand.smk"
include: "rules/capture.smk"
include: "rules/normalise.smk"
include: "rules/derive.smk"
include: "rules/stage.smk"
include: "rules/validate.smk"
include: "rules/prune.smk"
include: "rules/report.smk"
include: "rules/inventory.smk"
include: "rules/publish.smk"
include: "rules/parity.smk"


# Everything: the staged definitions of each model, validated, with a report.
rule all:
    default_target: True
    input:
        RUN.per_config("configs/{cfg}.json"),
        RUN.made(),
        RUN.per_model(
            "manifest.json", "report.json", "report.txt", "report.html", "passed"
        ),
        expand(RUN.settings.results / "{model}/dropped.json", model=RUN.plans),
        RUN.index(),
        RUN.unplanned(),


# Only what the serving configs are seen to call.
rule captures:
    input:
        RUN.per_config("dumps"),
