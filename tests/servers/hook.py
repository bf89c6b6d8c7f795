"""An HTTP server on a free port that writes down what it is asked: one JSON line a request, to the
file named. Its first answers are failures, as many as the second argument says. What is asked below
/moved is to be asked of what follows that, by a redirection."""
import http.server
import json
import sys

record, failures = open(sys.argv[1], "a", buffering=1), int(sys.argv[2])


class Hook(http.server.BaseHTTPRequestHandler):
    def answer(self):
        global failures
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        failures -= 1
        moved = self.path.startswith("/moved")
        status = 301 if moved else 500 if failures >= 0 else 200
        record.write(json.dumps({"method": self.command, "path": self.path, "body": body,
                                 "type": self.headers.get("Content-Type"), "status": status}) + "\n")
        self.send_response(status)
        if moved:
            self.send_header("Location", self.path[len("/moved"):])
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
print(server.server_address[1], flush=True)
server.serve_forever()
