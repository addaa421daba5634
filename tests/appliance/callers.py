#!/usr/bin/env python3
"""The world outside of the appliance, which calls the demo app and remembers what it was told.

  callers.py load SECONDS FOLDER URL...   several callers at once, each request on a connection of its own, for so long or until
                                          FOLDER/enough appears. Afterwards FOLDER/acknowledged has the id of every
                                          reading whose 201 came, a line each, and FOLDER/count how calls ended.
  callers.py count FOLDER                 prints that; ends with 1 if somebody was refused, or got no answer, or nothing came of all
  callers.py consequences URL             ends with 1 while some dry sensor has no alarm or some wet one has one
"""
import http.client
import json
import os
import sys
import threading
import time
from urllib.parse import urlsplit

CALLERS_EACH = 3
PATIENCE_S = float(os.environ.get("PATIENCE_S", "30"))


class Count:
    def __init__(self):
        self.lock = threading.Lock()
        self.ends = {}

    def add(self, end):
        with self.lock:
            self.ends[end] = self.ends.get(end, 0) + 1


def call(address, sensor, moisture):
    """How the call ended, and the id of what was stored if it was."""
    connection = http.client.HTTPConnection(address.hostname, address.port or 80, timeout=PATIENCE_S)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return "refused", None
    except OSError as error:
        return f"not connected: {error}", None
    try:
        body = json.dumps({"moisture": moisture})
        connection.request("POST", f"/greenhouse/readings/{sensor}", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        return str(answer.status), json.loads(body)["id"] if answer.status == 201 else None
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {type(error).__name__}", None
    finally:
        connection.close()


def load(seconds, folder, urls):
    count, enough = Count(), os.path.join(folder, "enough")
    end = time.monotonic() + seconds

    def caller(address, number, acknowledged):
        turn = 0
        while time.monotonic() < end and not os.path.exists(enough):
            # Each is dry on every second call, so that every call has a consequence.
            how, stored = call(address, f"{os.path.basename(folder)}-{number}", 10 if turn % 2 else 50)
            count.add(how)
            if stored:
                acknowledged.write(stored + "\n")
            turn += 1
            # Whoever is refused comes back, and does not keep this machine busy with that.
            time.sleep(0.02 if how == "201" else 0.2)

    with open(os.path.join(folder, "acknowledged"), "a", buffering=1) as acknowledged:
        threads = [
            threading.Thread(target=caller, args=(urlsplit(url), f"{place}-{number}", acknowledged), daemon=True)
            for place, url in enumerate(urls)
            for number in range(CALLERS_EACH)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 2 * PATIENCE_S)
    with open(os.path.join(folder, "count.new"), "w") as told:
        json.dump(count.ends, told)
    os.rename(os.path.join(folder, "count.new"), os.path.join(folder, "count"))


def told(folder):
    with open(os.path.join(folder, "count")) as file:
        ends = json.load(file)
    print(ends)
    # A daemon that is stopping may say so; it may not say nothing.
    return 0 if ends.get("201", 0) > 5 and set(ends) <= {"201", "503"} else 1


def consequences(url):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port or 80, timeout=PATIENCE_S)
    connection.request("GET", "/greenhouse/")
    seen = json.loads(connection.getresponse().read())
    alarmed = {text.split(" is dry")[0] for text in seen["alarms"]}
    dry = {sensor for sensor, moisture in seen["sensors"].items() if moisture < seen["dry_below"]}
    print("without alarm:", sorted(dry - alarmed), "with one in vain:", sorted(alarmed - dry))
    return 0 if seen["sensors"] and alarmed == dry else 1


if __name__ == "__main__":
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == "load":
        load(float(arguments[0]), arguments[1], arguments[2:])
    elif what == "count":
        sys.exit(told(*arguments))
    elif what == "consequences":
        sys.exit(consequences(*arguments))
    else:
        sys.exit(__doc__)
