"""One unit after the other in PyTorch on the CPU: loss and all gradients, float32, no optimizer.

usage: torch-driver.py FOLDER VARIANT SIZE BATCH CLASSES, where FOLDER holds mobilevit_torch.py.
Speaks the lines of peer-process.ts. Threads come from OMP_NUM_THREADS.
"""
import json
import os
import sys
import time

folder, variant, size, batch, classes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"missing": f"{error}; install PyTorch for {sys.executable}"}), flush=True)
    sys.exit()
sys.path.insert(0, folder)
from mobilevit_torch import CFG, MobileViT

threads = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(threads)
torch.manual_seed(0)
model = MobileViT(variant, classes, drop=CFG[variant]["dropout"], head_drop=0.1).train()
x, y = torch.rand(batch, 3, size, size), torch.randint(0, classes, (batch,))


def unit():
    started = time.perf_counter()
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(x), y, label_smoothing=0.1).backward()
    return (time.perf_counter() - started) * 1000


first = unit()
with open("/proc/self/maps") as maps:
    mapped = maps.read()
blas = "OpenBLAS" if "openblas" in mapped else "MKL" if "mkl" in mapped else "another BLAS"
words = f"PyTorch {torch.__version__} with {blas}, {threads} thread{'s' if threads > 1 else ''}"
print(json.dumps({"description": words, "firstMs": first}), flush=True)
for _ in sys.stdin:
    print(unit(), flush=True)
