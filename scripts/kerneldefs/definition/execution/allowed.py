"""What a reference may name: nothing that reaches a file, a process or the network.

Everything that is not listed is refused. A reference that needs more gets it by an entry here, once
somebody has seen that the name computes and does nothing else.
"""

from __future__ import annotations

_BUILTINS = """abs all any bool dict divmod enumerate filter float frozenset int isinstance len
list map max min pow range reversed round set slice sorted str sum tuple zip ArithmeticError
AssertionError Exception IndexError KeyError NotImplementedError RuntimeError TypeError
ValueError"""
BUILTINS = frozenset(_BUILTINS.split())

_DTYPES = """bfloat16 bool double float float16 float32 float64 float4_e2m1fn_x2 float8_e4m3fn
float8_e5m2 float8_e8m0fnu half int int16 int32 int64 int8 long short uint16 uint32 uint64
uint8"""

_TENSOR_OPS = """abs add addcdiv addcmul addmm all allclose amax amin aminmax any argmax argmin
argsort argwhere atan2 baddbmm bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or
bitwise_right_shift bitwise_xor bmm broadcast_to ceil chunk clamp clamp_max clamp_min clip clone
cos cosh count_nonzero cummax cummin cumprod cumsum diag diag_embed diagonal diff div dot einsum
eq equal erf erfc exp exp2 expm1 flatten flip floor floor_divide fmax fmin fmod frexp gather ge gt
hypot index_add index_copy index_fill index_put index_select inner isclose isfinite isinf isnan
kthvalue ldexp le lerp log log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp
logical_and logical_not logical_or logical_xor logsumexp lt masked_fill masked_scatter
masked_select matmul max maximum mean median min minimum mm moveaxis movedim mul multinomial mv
nan_to_num nansum narrow ne neg nonzero norm numel outer permute pow prod ravel reciprocal relu
remainder repeat_interleave reshape roll round rsqrt scatter scatter_add scatter_reduce select
sigmoid sign sin sinh softmax sort split sqrt square squeeze std sub sum swapaxes swapdims t take
take_along_dim tan tanh tensor_split tile topk transpose tril triu trunc unbind unflatten unique
unique_consecutive unsqueeze var where"""

_FACTORIES = """arange as_tensor cat column_stack concat concatenate empty empty_like eye full
full_like hstack linspace meshgrid ones ones_like stack tensor vstack zeros zeros_like"""

_FUNCTIONAL = """cross_entropy elu embedding gelu glu hardtanh layer_norm leaky_relu linear
log_softmax logsigmoid mish normalize one_hot pad relu rms_norm scaled_dot_product_attention
sigmoid silu softmax softplus tanh conv1d"""

_MATH = """acos asin atan atan2 ceil comb copysign cos cosh e erf erfc exp expm1 fabs floor fmod
frexp gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp log log10 log1p log2 nan pi pow
prod sin sinh sqrt tan tanh trunc"""

_NUMPY = """abs arange array asarray bool_ ceil clip concatenate cos cumsum dot empty exp exp2
float16 float32 float64 floor full inf int16 int32 int64 int8 isfinite log log2 logical_and matmul
max maximum mean min minimum nan ndarray ones pi power prod round sign sin sqrt stack sum tanh
uint8 where zeros"""

_TYPING = """Any Callable Dict Final Iterable Iterator List Literal Mapping Optional Sequence Set
Tuple Union"""

MODULES = frozenset(
    ["__future__", "enum", "math", "numpy", "torch", "torch.nn", "torch.nn.functional", "typing"]
)


def _below(module: str, names: str) -> set[str]:
    return {f"{module}.{name}" for name in names.split()}


NAMES = frozenset(
    _below("torch", f"{_DTYPES} {_TENSOR_OPS} {_FACTORIES}")
    | _below("torch", "Size Tensor device dtype finfo iinfo inf nan no_grad inference_mode pi")
    | _below("torch.nn.functional", _FUNCTIONAL)
    | _below("math", _MATH)
    | _below("numpy", _NUMPY)
    | _below("typing", _TYPING)
    | _below("enum", "Enum IntEnum")
    | {"__future__.annotations"}
)

# Attributes of anything that is not a module: of tensors, of Python's containers and strings, of
# slices and dtypes. An enum's members are added from the reference's own classes.
_IN_PLACE = """abs_ add_ clamp_ copy_ div_ exp_ fill_ index_add_ index_copy_ index_fill_
index_put_ masked_fill_ masked_scatter_ mul_ neg_ pow_ relu_ round_ scatter_ scatter_add_
scatter_reduce_ sigmoid_ sqrt_ sub_ tanh_ zero_"""
_TENSOR_ONLY = """T contiguous cpu detach device dim dtype element_size expand expand_as
is_contiguous is_cuda is_floating_point item itemsize mT nbytes ndim nelement new_empty new_full
new_ones new_tensor new_zeros repeat reshape_as shape size stride to tolist type_as unfold view
view_as index"""
_PYTHON = """append bits copy count end endswith eps extend get insert items join keys lower max
min name pop setdefault smallest_normal sort start startswith step stop strip tiny update upper
value values indices"""
ATTRIBUTES = frozenset(f"{_DTYPES} {_TENSOR_OPS} {_IN_PLACE} {_TENSOR_ONLY} {_PYTHON}".split())
