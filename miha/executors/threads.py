"""The environment of a worker: its threads and its GPU memory leave room for its neighbours."""

from __future__ import annotations


def environment(cpus: float, gpus: float) -> dict[str, str]:
    """Return the variables by which the backends are told how much of a machine is theirs.

    Args:
        cpus: Cores reserved; rounded down, but at least 1, the threads of a pool.
        gpus: GPUs reserved; 0: none is seen.
    """
    threads = max(int(cpus), 1)
    variables = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if threads == 1:  # JAX has a switch, and no number.
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if not gpus:
        variables["CUDA_VISIBLE_DEVICES"] = "-1"
    return variables
