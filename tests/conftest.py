import os

# Before TensorFlow is imported anywhere: its start-up notes are not the tests' affair.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
