"""Names that pickles ask for: which are torch's own, which stand for dictionaries, which no model needs."""

from __future__ import annotations

from typing import NamedTuple

HOSTILE_MODULES = frozenset(
    {
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "commands",
        "pty",
        "runpy",
        "shutil",
        "socket",
        "importlib",
        "ctypes",
        "_ctypes",
        "webbrowser",
        "pickle",
        "_pickle",
        "marshal",
        "code",
        "codeop",
        "timeit",
        "pdb",
        "bdb",
        "requests",
        "ftplib",
        "smtplib",
        "joblib",
        "dill",
        "cloudpickle",
        "imp",
        "pip",
    }
)
HOSTILE_BUILTINS = frozenset(
    {"eval", "exec", "compile", "open", "__import__", "input", "breakpoint", "execfile", "globals"}
)
HOSTILE_FUNCTIONS = frozenset(
    {
        "torch.load",
        "torch.serialization.load",
        "torch.jit.load",
        "torch.hub.load",
        "torch.storage._load_from_bytes",
        "torch.utils.cpp_extension.load",
        "torch.ops.load_library",
        "torch.classes.load_library",
        "numpy.load",
        "io.open",
        "_io.open",
        "io.FileIO",
        "_io.FileIO",
        "numpy.testing._private.utils.runstring",
        "types.CodeType",
        "types.FunctionType",
    }
)


class Global(NamedTuple):
    """A name that a pickle imports, in Python 3's spelling."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def hostile(self) -> bool:
        """Whether no checkpoint has any business with it."""
        package = self.module.partition(".")[0]
        return (
            package in HOSTILE_MODULES
            or (package == "builtins" and self.name in HOSTILE_BUILTINS)
            or str(self) in HOSTILE_FUNCTIONS
        )

    @property
    def known(self) -> bool:
        """Whether repdiag gives it its own meaning, as torch's weights-only loader does."""
        return str(self) in KNOWN or (self.module in ("torch", "torch.cuda") and self.name in STORAGES)


ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "complex128": 16, "complex64": 8, "complex32": 4,
        "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2,
        "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "quint8": 1, "qint8": 1, "qint32": 4,
}  # fmt: skip
"""Bytes per element, by the name of the dtype in torch. Types of less than a byte are not read."""

STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QUInt8Storage": "quint8", "QInt8Storage": "qint8", "QInt32Storage": "qint32",
    "UntypedStorage": "uint8",
}  # fmt: skip
"""The dtype of each of torch's storage classes."""

DICTIONARIES = frozenset({"collections.OrderedDict", "collections.defaultdict", "collections.Counter"})

WRAPPERS = frozenset(
    {
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
    }
)
"""Whose first argument is the tensor."""

TYPED = frozenset({"torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type"})
"""(function, type, arguments, state): a tensor of a subclass."""

DENSE = {
    "torch._utils._rebuild_tensor": 4,
    "torch._utils._rebuild_tensor_v2": 6,
    "torch._utils._rebuild_tensor_v3": 7,
    "torch._utils._rebuild_qtensor": 7,
}
"""Functions that make a tensor of (storage, offset, size, stride, ...), and how many arguments they need."""

OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "saved without values, from the meta device",
    "torch._utils._rebuild_wrapper_subclass": "of a subclass",
    "torch._utils._rebuild_device_tensor_from_numpy": "of another device, as numpy arrays",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of another device",
    "torch._utils._rebuild_xla_tensor": "of another device, as numpy arrays",
    "numpy.core.multiarray._reconstruct": "numpy arrays",
    "numpy._core.multiarray._reconstruct": "numpy arrays",
    "numpy._core.numeric._frombuffer": "numpy arrays",
    "numpy.core.numeric._frombuffer": "numpy arrays",
}
"""What holds numbers and is no plain tensor."""

NUMPY_SCALARS = frozenset({"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"})

KNOWN = (
    frozenset(
        {f"torch.{name}" for name in ITEM_SIZES}
        | {f"torch.storage.{name}" for name in ("UntypedStorage", "TypedStorage")}
        | {
            "collections.OrderedDict", "collections.Counter", "torch.Size", "torch.Tensor", "torch.device",
            "torch.serialization._get_layout", "_codecs.encode", "builtins.bytearray", "builtins.set",
            "builtins.complex", "torch.per_tensor_affine", "torch.per_tensor_symmetric",
            "torch.per_channel_affine", "torch.per_channel_symmetric",
            "torch.per_channel_affine_float_qparams",
        }
    )
    | {name for name in OTHER_TENSORS if name.startswith("torch._utils.") and "csr" not in name}
    | WRAPPERS | set(DENSE) | {"torch._tensor._rebuild_from_type_v2"}
) - {"torch._utils._rebuild_xla_tensor", "torch._utils._rebuild_nested_tensor"}  # fmt: skip
"""What torch's weights-only loader lets through; everything else is named to the user as a stand-in."""
