"""Kernels as machine code that needs no compiler to be loaded: the numba package takes most of a second to import, the
code that it made a hundredth.

In: a kernel that numba has compiled, and the arguments of one call. Out: a file beside numba's own; and later, from
that file, a function for arguments of the same types. The set-up writes it (`routing.ready`) once it has given the same
answers; what is missing, broken, of another processor or of another source is as if there were none. Never compiles.
"""

import ctypes
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# What code may ask of the C library, which every process has.
_KNOWN = frozenset({"memset", "memcpy", "memmove"})


def file_of(place: Path, name: str, source: str) -> Path:
    """Where the code of a kernel is, of this source and for this processor."""
    return place / f"{name}.{sha256(f'{source} {_processor()}'.encode()).hexdigest()[:32]}.native"


def write(file: Path, dispatcher: Any, arguments: Sequence[Any]) -> bool:
    """Keep what `dispatcher`, a function of numba, makes of such arguments; False where it cannot be kept."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - with numba it is there already

    (compiled,) = dispatcher.overloads.values()
    name = compiled.fndesc.mangled_name
    module = llvm.parse_assembly(compiled.library.get_llvm_str())
    kernel = module.get_function(name)
    # numba's own way in, by Python objects, goes: it alone needs numba
    for function in module.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"
    kernel.linkage = "external"
    machine = _machine()
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    asked = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    number = sum(1 for _ in kernel.arguments)
    if not asked <= _KNOWN or number != 2 + sum(1 for _ in _flat(arguments)):
        return False
    code = machine.emit_object(module)
    head = json.dumps({"name": name, "types": _types(arguments), "digest": sha256(code).hexdigest()}).encode()
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        partial.write_bytes(len(head).to_bytes(4, "little") + head + code)
        partial.chmod(0o644)
        partial.replace(file)
        for old in file.parent.glob(f"{file.name.partition('.')[0]}.*.native"):
            if old != file:
                old.unlink(missing_ok=True)
    except OSError:  # read-only, or full
        return False
    return True


_LOADED: "weakref.WeakSet[Native]" = weakref.WeakSet()


def forget() -> None:
    """Let go of what kernels were given last: it is a whole graph, and who has dropped that wants its memory back."""
    for one in list(_LOADED):
        one.forget()


class Native:
    """The code of a kernel, loaded."""

    def __init__(self, name: str, types: list[tuple[str, ...]], code: bytes) -> None:
        import llvmlite.binding as llvm  # noqa: PLC0415 - only where there is such a file

        self.types = types
        self._parts: dict[int, _Part] = {}
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())  # has the memory of the code
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._function = ctypes.CFUNCTYPE(ctypes.c_int32)(self._engine.get_function_address(name))
        _LOADED.add(self)

    def forget(self) -> None:
        """See the function of that name."""
        self._parts = {}

    def takes(self, arguments: Sequence[Any]) -> bool:
        """Whether it was made for arguments of these types."""
        return [of for part in self._parts_of(arguments) for of in part.types] == self.types

    def __call__(self, *arguments: Any) -> None:
        result, error = ctypes.c_int64(), ctypes.c_void_p()
        flat = [number for part in self._parts_of(arguments) for number in part.flat]
        if failed := self._function(ctypes.byref(result), ctypes.byref(error), *flat):
            raise RuntimeError(f"a kernel failed with {failed}")

    def _parts_of(self, arguments: Sequence[Any]) -> list["_Part"]:
        """What each argument is to the code. What was given the last time too is not looked at again: that is half a
        hundred arrays, and takes as long as many a kernel.
        """
        found = []
        for position, given in enumerate(arguments):
            part = self._parts.get(position)
            if part is None or part.given is not given:
                numbers = [ctypes.c_int64(number) for number in _flat((given,))]
                part = self._parts[position] = _Part(given, _types((given,)), numbers)
            found.append(part)
        return found


class _Part(NamedTuple):
    """An argument, the types in it, and the numbers that it is handed on as."""

    given: Any
    types: list[tuple[str, ...]]
    flat: list[ctypes.c_int64]


def read(file: Path) -> Native | None:
    """The kernel of a file; None where there is none that is whole."""
    try:
        data = file.read_bytes()
        length = int.from_bytes(data[:4], "little")
        head = json.loads(data[4 : 4 + length])
        name, types, code = head["name"], [tuple(one) for one in head["types"]], data[4 + length :]
        if head["digest"] != sha256(code).hexdigest():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Native(name, types, code)


def arrays(arguments: Sequence[Any]) -> Iterator[Any]:
    """All that a kernel could write to."""
    for one in arguments:
        if isinstance(one, tuple):
            yield from arrays(one)
        elif isinstance(one, np.ndarray):
            yield one


def _flat(arguments: Sequence[Any]) -> Iterator[int]:
    """Arguments as numba hands them on: each number, and of each array seven."""
    for one in arguments:
        if isinstance(one, tuple):
            yield from _flat(one)
        elif isinstance(one, np.ndarray):
            # who owns it (twice nobody, as nothing counts), how many, how large, where, shape, strides
            yield from (0, 0, one.size, one.itemsize, one.ctypes.data, one.shape[0], one.strides[0])
        else:
            yield int(one)


def _types(arguments: Sequence[Any]) -> list[tuple[str, ...]]:
    """What the code was made for."""
    found: list[tuple[str, ...]] = []
    for one in arguments:
        if isinstance(one, tuple):
            found += _types(one)
        elif isinstance(one, np.ndarray):
            whole = one.ndim == 1 and one.flags.c_contiguous and one.flags.writeable and one.flags.aligned
            found.append((str(one.dtype.descr if one.dtype.names else one.dtype.str), str(whole)))
        else:
            found.append((type(one).__name__,))
    return found


def _processor() -> str:
    import llvmlite.binding as llvm  # noqa: PLC0415

    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _machine() -> Any:
    import llvmlite.binding as llvm  # noqa: PLC0415

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )
