"""How long a compiled graph's operations take without its edges, as they would within a network."""

from time import perf_counter

from minisegnet.engine.borders import Entry, Exit


class Within:
    """Seconds of a plan's last passes, from the first operation's beginning to the last one's end, in all workers.

    A graph of one layer first stores its input the engine's way and at last its output as (N, C, H, W) again. Within a
    network no operation does either, and PyTorch's is given what lies in the layout that it likes, too.
    """

    def __init__(self, plan):
        self.times = {}
        operations = [step for step in plan.steps if not isinstance(step, Entry | Exit)]
        first, last = operations[0], operations[-1]
        ends = [step for step in plan.steps if isinstance(step, Exit)]
        first.forward = self.noting(first.forward, before="forward begins")
        for step in ends:
            step.forward = self.noting(step.forward, before="forward ends")
        last.backward = self.noting(last.backward, before="backward begins")
        plan.backward = self.noting(plan.backward, after="backward ends")

    def noting(self, run, before="", after=""):
        def noted(*given):
            self.times[before] = perf_counter()
            run(*given)
            self.times[after] = perf_counter()

        return noted

    def seconds(self, what):
        """Of the last "forward", "backward" or "forward and backward"."""
        begin, end = what.split()[0], what.split()[-1]
        return self.times[f"{end} ends"] - self.times[f"{begin} begins"]
