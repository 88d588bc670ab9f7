"""`import minisegnet` brings nothing but NumPy: pictures, files, SciPy and GPUs are imported where they are used."""

import json
import subprocess
import sys

HEAVY = ["PIL", "cupy", "matplotlib", "onnx", "scipy", "threadpoolctl", "torch", "tqdm"]

MEASURE = """
import json, sys, time
start = time.perf_counter()
import minisegnet
print(json.dumps({"seconds": time.perf_counter() - start, "modules": sorted(sys.modules)}))
"""


def test_import_is_light():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    print(f"import minisegnet: {answer['seconds']:.3f} s")
    assert "numpy" in answer["modules"]
    assert [name for name in HEAVY if name in answer["modules"]] == []
