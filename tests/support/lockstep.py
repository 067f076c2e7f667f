"""Two threads that stand for two processes."""

import threading


class Lockstep:
    """`gss.core.distributed` for two threads that stand for two processes."""

    def __init__(self):
        self.barrier, self.parts, self.rank = threading.Barrier(2), [None, None], threading.local()

    def process_index(self):
        return self.rank.value

    def num_processes(self):
        return 2

    def sum_across(self, value):
        self.parts[self.rank.value] = value
        self.barrier.wait()
        total = self.parts[0] + self.parts[1]
        self.barrier.wait()
        return total

    def run(self, work):
        def start(rank):
            self.rank.value = rank
            try:
                results[rank] = work(rank)
            except BaseException:
                self.barrier.abort()
                raise

        results = [None, None]
        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results
