"""What no fork may fall into: work of a thread beside the main one.

At a fork OpenBLAS ends its own threads and waits for their end: for ever, where they are at work for another thread
just then. So a thread that computes beside the others holds `work_beside` meanwhile, and a fork waits for it.
"""

import os
import threading

work_beside = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=work_beside.acquire, after_in_parent=work_beside.release, after_in_child=work_beside.release
    )
