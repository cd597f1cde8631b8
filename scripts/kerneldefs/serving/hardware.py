"""The cookbook's hardware names: which architecture they are, and how many GPUs a node holds."""

from __future__ import annotations

import dataclasses

from kerneldefs.errors import nearest


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One GPU product. `arch` is its CUDA architecture, `gpus_per_node` of its usual server."""

    name: str
    arch: str
    gpus_per_node: int


# In the order that decides which product names a config that several share, so that it does not
# hang on the order of keys in a YAML file. GB200 and GB300 nodes (NVL72 compute trays) hold 4 GPUs.
_PRODUCTS = (
    Hardware("A100", "sm_80", 8),
    Hardware("A800", "sm_80", 8),
    Hardware("H100", "sm_90", 8),
    Hardware("H800", "sm_90", 8),
    Hardware("H200", "sm_90", 8),
    Hardware("H20", "sm_90", 8),
    Hardware("B200", "sm_100", 8),
    Hardware("GB200", "sm_100", 4),
    Hardware("B300", "sm_103", 8),
    Hardware("GB300", "sm_103", 4),
    Hardware("RTX-PRO-6000", "sm_120", 8),
    Hardware("RTX-5090", "sm_120", 8),
)
HARDWARE = {product.name: product for product in _PRODUCTS}
ORDER = {product.name: place for place, product in enumerate(_PRODUCTS)}
DEFAULT_HARDWARE = ("H100", "B200")  # for a model without a cookbook entry: both generations

_OTHER_VENDORS = {"MI": "AMD hardware", "GAUDI": "Intel hardware", "ASCEND": "Huawei hardware"}


def canonical(name: str) -> str:
    """Return a hardware name as the table spells it, whatever case and spacing it came in."""
    return name.strip().upper().replace(" ", "-").replace("_", "-")


def find_hardware(name: str) -> Hardware | str:
    """Return the product of a cookbook name, or the reason why a config for it is dropped."""
    key = canonical(name)
    if key in HARDWARE:
        return HARDWARE[key]
    for prefix, what in _OTHER_VENDORS.items():
        if key.startswith(prefix):
            return f"{name} is {what}; FlashInfer's kernels are CUDA's"
    return f"hardware {name} is not known{nearest(name, HARDWARE)}"
