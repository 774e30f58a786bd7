"""One unit after the other in PyTorch: loss and all gradients, eager, float32, no optimizer.

usage: torch-driver.py FOLDER VARIANT HEIGHT WIDTH BATCH CLASSES [--device cuda], where FOLDER holds
mobilevit_torch.py. Speaks the lines of peer-process.ts. On the CPU threads come from OMP_NUM_THREADS.
"""
import json
import os
import sys
import time

folder, variant = sys.argv[1:3]
height, width, batch, classes = map(int, sys.argv[3:7])
device = sys.argv[8] if sys.argv[7:8] == ["--device"] else "cpu"
try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"missing": f"{error}; install PyTorch for {sys.executable}"}), flush=True)
    sys.exit()
sys.path.insert(0, folder)
from mobilevit_torch import CFG, MobileViT

threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
torch.set_num_threads(threads)
torch.manual_seed(0)
if device != "cpu":
    if not torch.cuda.is_available():
        words = f"PyTorch {torch.__version__} of {sys.executable} finds no CUDA device"
        print(json.dumps({"missing": words}), flush=True)
        sys.exit()
    # float32 as everybody else computes it
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
model = MobileViT(variant, classes, drop=CFG[variant]["dropout"], head_drop=0.1).train().to(device)
x = torch.rand(batch, 3, height, width, device=device)
y = torch.randint(0, classes, (batch,), device=device)


def unit():
    started = time.perf_counter()
    model.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
    loss.backward()
    loss.item()  # what every training loop reads; on a GPU it waits for the unit
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1000


first = unit()


def description():
    if device != "cpu":
        return f"PyTorch {torch.__version__} eager, float32, on {torch.cuda.get_device_name()}"
    with open("/proc/self/maps") as maps:
        mapped = maps.read()
    blas = "OpenBLAS" if "openblas" in mapped else "MKL" if "mkl" in mapped else "another BLAS"
    return f"PyTorch {torch.__version__} with {blas}, {threads} thread{'s' if threads > 1 else ''}"


print(json.dumps({"description": description(), "firstMs": first}), flush=True)
for _ in sys.stdin:
    print(unit(), flush=True)
