"""For every test: one thread per process, since the networks are small and two processes share the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
