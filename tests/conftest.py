import atexit
import gc
import os
import shutil
import tempfile

# Before TensorFlow is imported anywhere: its start-up notes are not the tests' affair.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# On some processors TensorFlow's oneDNN fuses an activation into a matrix product where nothing
# stands between them, and rounds it otherwise: `fit` and a network whose activation is switched
# then differ in the last bit.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# `make test` has a process for each core: more threads than that would wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# Programs of JAX are kept for these tests, and not in the user's own folder.
if "MIHA_CACHE_DIR" not in os.environ:
    os.environ["MIHA_CACHE_DIR"] = tempfile.mkdtemp(prefix="miha-tests-")
    atexit.register(shutil.rmtree, os.environ["MIHA_CACHE_DIR"], ignore_errors=True)

# Keras has one backend in a process: `make test-all` runs the others'.
BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
PLACES = {
    "tensorflow": ["trainer/tensorflow/*"],
    "jax": ["trainer/jax/*"],
    "torch": ["trainer/test_torch.py"],
}
collect_ignore_glob = [place for name in PLACES if name != BACKEND for place in PLACES[name]]


def pytest_collection_finish():
    """Spare the collector what stays until the end: modules, TensorFlow's, and the tests.

    `keras.utils.clear_session` has all objects looked at, which takes a quarter of a second.
    """
    gc.collect()
    gc.freeze()
