"""How long `import minisegnet` takes, in fresh processes beside `import numpy` alone: medians of whole processes.

    python benchmarks/import_time.py [--rounds 15]
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds(statement):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    statements = {"nothing": "pass", "numpy": "import numpy", "minisegnet": "import minisegnet"}
    times = {name: [] for name in statements}
    for _ in range(rounds):
        for name, statement in statements.items():
            times[name].append(seconds(statement))
    nothing = statistics.median(times["nothing"])
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"import {name:12} {median:.3f} s, {median - nothing:.3f} s of them for the import")


if __name__ == "__main__":
    main()
