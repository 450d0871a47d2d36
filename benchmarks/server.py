"""Serves bodies made beforehand, in a process of its own, and nothing slower than that.

``python -m benchmarks.server --runs 20 --entries 1000000`` prints its address once all is made and
answers the four routes of the Komos API, and three of its own:

- ``/bench/runs``: the run ids, oldest first
- ``/bench/expected``: the entries the logs hold in this phase, and how many have no timestamp
- ``/bench/phase/N``: from now on answer as in phase 0 or in phase 1, when each run has new entries
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.made import Log, made_logs, made_run

_RUNS_A_TASK = 50


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, logs: dict[str, Log], latency: float, refuse: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.logs = logs
        self.latency = latency
        self.refuse = refuse
        self.phase = 0
        ids = list(logs)
        self.tasks = {
            f"00000000-0000-4000-8000-{number:012}": ids[number : number + _RUNS_A_TASK]
            for number in range(0, len(ids), _RUNS_A_TASK)
        }

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that gives up half-way is not this server's trouble."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["public", "v1", "task-runs", run_id, "logs"]:
                self._log(run_id)
            case ["public", "v1", "tasks", task_id, "runs"]:
                runs = self.server.tasks.get(task_id, [])
                self._json({"runs": [made_run(run_id, task_id) for run_id in reversed(runs)]})
            case ["public", "v1", "tasks"]:
                tasks = [{"id": id, "name": id, "status": "READY"} for id in self.server.tasks]
                self._json({"tasks": tasks, "total": len(tasks)})
            case ["bench", "runs"]:
                self._json(list(self.server.logs))
            case ["bench", "expected"]:
                logs, phase = self.server.logs.values(), self.server.phase
                rows = sum(log.entries[phase] for log in logs)
                self._json({"rows": rows, "untimed": sum(log.untimed[phase] for log in logs)})
            case ["bench", "phase", phase]:
                self.server.phase = int(phase)
                self._json({})
            case _:
                self._json({"detail": "not_found"}, status=404)

    def _log(self, run_id: str) -> None:
        log = self.server.logs.get(run_id)
        time.sleep(self.server.latency)
        if log is None:
            self._json({"detail": "run_not_found"}, status=404)
        elif self.server.refuse > 0:
            self.server.refuse -= 1
            self._json({"detail": "slow_down"}, status=429)
        else:
            self._answer(200, log.body(self.server.phase))

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, (json.dumps(value).encode(),))

    def _answer(self, status: int, pieces: tuple[bytes, ...]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, *args: object) -> None:
        """Nothing: a line a request would be measured with the rest."""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, required=True)
    options.add_argument("--entries", type=int, required=True, help="in all runs together")
    options.add_argument("--new", type=int, help="entries that phase 1 adds; 5 %% if not given")
    options.add_argument("--latency", type=float, default=0.0, help="seconds before each log")
    options.add_argument("--refuse", type=int, default=0, help="answer the first N logs with 429")
    given = options.parse_args()
    server = _Server(made_logs(given.runs, given.entries, given.new), given.latency, given.refuse)
    gc.freeze()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
