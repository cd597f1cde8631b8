"""What the operating system keeps a reference from, whatever its text got past the screen.

After `confine` a process may compute, and nothing else: every system call that is not listed fails
with EPERM, so it can open no file or socket, start no process or thread, signal nobody and change
none of its limits. Memory and processor time end it; the wall clock is the parent's to watch.
What this does not keep it from: using up its own limits, and writing any result to its own pipe.
Linux on x86-64 and ARM64; elsewhere `confine` raises and nothing untrusted is run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct

# System calls (x86-64, ARM64) that computing needs: memory, time, locks, the pipe, the end.
_CALLS: dict[str, tuple[int, int]] = {
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "sigaltstack": (131, 132),
    "write": (1, 64),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH_*

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050000 | 1
_ARCHITECTURE_AT, _NUMBER_AT = 4, 0  # offsets in struct seccomp_data
_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000


class Unconfined(Exception):
    """The machine cannot confine a process: why, in a sentence."""


def leave_network() -> bool:
    """Move this process and its future children into a network of its own; whether it worked.

    A second fence behind the closed system calls, and one that needs rights the machine may not
    give. Call it before threads exist.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return any(
        libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    )


def confine(keep: int, memory: int, seconds: int) -> None:
    """Confine this process for good, to one open descriptor.

    `memory` is in bytes beyond what the process has mapped already, `seconds` of processor time.
    Raises `Unconfined`, after which nothing untrusted may run.
    """
    _only_descriptor(keep)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as stream:
        stream.write(b"1000")  # of all processes the kernel ends this one first
    _limit(resource.RLIMIT_AS, _mapped() + memory)
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)  # SIGXCPU tells, a second later SIGKILL ends
    for none in ("FSIZE", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE"):
        _limit(getattr(resource, f"RLIMIT_{none}"), 0)
    _close_system_calls()


def _only_descriptor(keep: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        if standard != keep:
            os.dup2(null, standard)
    os.closerange(3, keep)
    os.closerange(max(3, keep + 1), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _mapped() -> int:
    """Bytes of address space that this process has."""
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    highest = resource.getrlimit(what)[1]
    values = [soft, soft if hard is None else hard]
    if highest != resource.RLIM_INFINITY:
        values = [min(value, highest) for value in values]
    resource.setrlimit(what, (values[0], values[1]))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def filter_program(machine: str) -> bytes:
    """Return the seccomp filter (classic BPF) for a machine: the listed calls, EPERM for others."""
    if machine not in _MACHINES:
        raise Unconfined(f"no list of system calls for {machine}")
    column, architecture = _MACHINES[machine]
    steps = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_JUMP_IF_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    for numbers in _CALLS.values():
        steps += [
            _instruction(_JUMP_IF_EQUAL, numbers[column], 0, 1),
            _instruction(_RETURN, _ALLOW),
        ]
    return b"".join([*steps, _instruction(_RETURN, _EPERM)])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _close_system_calls() -> None:
    if platform.system() != "Linux":
        raise Unconfined(f"{platform.system()} has no seccomp")
    program = filter_program(platform.machine())
    text = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unconfined(f"prctl refused: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0) != 0:
        raise Unconfined(f"seccomp refused: {os.strerror(ctypes.get_errno())}")
