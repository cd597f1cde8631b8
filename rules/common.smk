"""What the rules share: RUN, the settings and the plan made from them.

The cookbook and each model's config.json must be on disk before the jobs are known. What is missing
is fetched here, except in a dry run; scripts/fetch.py does the same by hand.
"""

import os
import sys
from pathlib import Path

from snakemake.logging import logger
from snakemake.utils import validate

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from kerneldefs import cli, digests, invocation, plan, worker
from kerneldefs.errors import KerneldefsError

invocation.hush(logger)
DRY_RUN = invocation.is_dry_run(sys.argv[1:])

try:
    RUN = plan.load(
        config,
        may_fetch=workflow.is_main_process and not DRY_RUN,
        look_for_gpus=workflow.is_main_process,
    )
except KerneldefsError as error:
    raise SystemExit(f"error: {error}") from None

# The same schema once more, as Snakemake's users know it: it sets what config leaves out. What it
# would refuse, `load` has refused above, in a sentence that names the nearest key.
validate(config, "../config/schemas/config.schema.json")

# Most of a command is importing. On this machine the commands of one kind are forks of a process that
# has imported, and ends with this one; a job of a cluster keeps to what it was granted.
if workflow.is_main_process:
    invocation.prepare(RUN, dry_run=DRY_RUN)
    os.environ[cli.OWNER] = worker.owner_here()
else:
    os.environ.pop(cli.OWNER, None)

deployment = workflow.deployment_settings.deployment_method
shell.prefix(invocation.shell_prefix(deployment, RUN.python()))


# Where nothing is submitted, no rate of submissions need be kept. Snakemake keeps one by a timer after
# each choice of jobs, which causes another choice and another timer: after hundreds of jobs, hundreds
# of choices a second.
onstart:
    try:
        invocation.start(RUN)
    except KerneldefsError as error:
        raise SystemExit(f"error: {error}") from None
    if not RUN.submits_captures:
        workflow.scheduler.job_rate_limiter = None


# Under an executor that submits jobs these run where Snakemake does: they take seconds.
localrules:
    all,
    captures,
    parity,
    compare,
    fetch_weights,
    fetch_cubins,
    expand,
    dropped,
    planned,
    normalise,
    templates,
    derive,
    inventory,
    prune,
    publish,
    page,
    index,
    stage,
    validate,
    check,


pathvars:
    results=str(RUN.settings.results),


wildcard_constraints:
    model="[^/]+",
    cfg="[^/]+",
