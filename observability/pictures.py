"""Photographs pages of Jaeger's user interface: the part of pictures.sh that needs a browser.

    pictures.py CHROMIUM VIEWER FOLDER

VIEWER is the address of a running viewer that has the traces of `examples/triage` and of the example `14_traces`. The browser is
driven over a pipe (Chrome's DevTools protocol), so that a picture is taken when what it shows is there and not after
some time. Only Python's own library is used.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

WIDTH = 1200
# How long a page may take to show what is waited for.
LIMIT_MS = 20_000


class Browser:
    """A headless browser with one page."""

    def __init__(self, program, scratch):
        to_read, self.to_write = os.pipe()
        self.to_answer, answers = os.pipe()

        # The browser reads from descriptor 3 and writes to 4. Above 10 they are in nobody's way.
        to_read, answers = (os.dup2(pipe, 10 + index) for index, pipe in enumerate((to_read, answers)))
        script = 'exec "$@" 3<&10 4>&11 10<&- 11>&-'
        arguments = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     f"--user-data-dir={scratch}", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(["bash", "-c", script, "browser", *arguments], pass_fds=(to_read, answers),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(answers)
        self.rest, self.last, self.session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        """Sends a command and returns its result."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.last:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.to_answer, 1 << 16)
            if not more:
                sys.exit("the browser has ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def run(self, script):
        """Runs a script in the page, waits for what it promises, and returns its value."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(f"{script}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def wait(self, condition):
        """Waits until the page meets a condition: after each frame it is asked again."""
        met = self.run(f"""new Promise(done => {{
            const begun = performance.now();
            const look = () => ({condition}) ? done(true)
                : performance.now() - begun > {LIMIT_MS} ? done(false) : requestAnimationFrame(look);
            look();
        }})""")
        if not met:
            sys.exit(f"never so: {condition}")

    def wait_until_still(self, selector, attribute):
        """Waits until elements have come, and what they say is the same for ten frames: an animation has ended."""
        elements = f"[...document.querySelectorAll({json.dumps(selector)})]"
        said = f"{elements}.map(e => e.getAttribute({json.dumps(attribute)}))"
        self.wait(f"""(now => {{
            window.stillFor = now && now === window.saidBefore ? window.stillFor + 1 : 0;
            window.saidBefore = now;
            return window.stillFor >= 10;
        }})({said}.join())""")

    def open(self, address, height):
        self.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
        # By way of an empty page, so that what is waited for is not found on the page before.
        for place in ("about:blank", address):
            self.call("Page.navigate", url=place)
            origin = json.dumps(place.partition("//")[2].partition("/")[0])
            self.wait(f"location.host === {origin} && document.readyState === 'complete'")

    def click(self, selector, text=""):
        """Clicks the first visible element of a kind that has the text."""
        found = (f"[...document.querySelectorAll({json.dumps(selector)})]"
                 f".find(e => e.textContent.includes({json.dumps(text)}))")
        self.wait(found)
        self.run(f"{found}.click()")

    def picture(self, path, last, more=8):
        """Takes the page from its top to the end of the last element of a kind, and `more` pixels."""
        # Two frames: what was asked for is drawn.
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        bottoms = f"[...document.querySelectorAll({json.dumps(last)})].map(e => e.getBoundingClientRect().bottom)"
        height = self.run(f"Math.min(Math.max(...{bottoms}), innerHeight - {more})") + more
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        image = self.call("Page.captureScreenshot", format="png", clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(image))

    def end(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait(timeout=10)


class Traces:
    """What the viewer has."""

    def __init__(self, viewer):
        self.viewer = viewer

    def of(self, service, **query):
        query = urllib.parse.urlencode({"service": service, "limit": 100, **query})
        with urllib.request.urlopen(f"{self.viewer}/api/traces?{query}") as answer:
            return json.load(answer)["data"]

    def one(self, service, operation, **query):
        found = self.of(service, operation=operation, **query)
        if not found:
            sys.exit(f"no trace of {service} has a span `{operation}`")
        return found[-1]


def span(trace, name, **tags):
    """The first span of a name with these tags, by time."""
    def fits(candidate):
        known = {tag["key"]: tag["value"] for tag in candidate["tags"]}
        return candidate["operationName"] == name and all(known.get(key) == value for key, value in tags.items())
    found = sorted(filter(fits, trace["spans"]), key=lambda candidate: candidate["startTime"])
    if not found:
        sys.exit(f"trace {trace['traceID']} has no span `{name}` with {tags}")
    return found[0]


def main():
    program, viewer, folder = sys.argv[1:]
    traces = Traces(viewer)
    triage = traces.one("triage", "run triage")
    failed = traces.one("shop", "run checkout", tags=json.dumps({"volery.run.status": "failed"}))
    handed = traces.one("shop", "run checkout", tags=json.dumps({"volery.run.status": "completed"}))
    shared = traces.one("shop", "shared pack")

    with tempfile.TemporaryDirectory() as scratch:
        browser = Browser(program, scratch)

        def trace(which, name, height, found=None, sections=(), less=0, last=".span-row, .detail-row"):
            """A trace; with a span's details, if one is named, and with its deepest levels folded."""
            address = f"{viewer}/trace/{which['traceID']}"
            if found:
                address += f"?uiFind={found['spanID']}"
            browser.open(address, height)
            browser.wait("document.querySelectorAll('.span-row').length > 0")
            for _ in range(less):
                # "Collapse +1", the second of four buttons.
                browser.run("document.querySelectorAll('.TimelineCollapser svg')[1].parentElement"
                            ".querySelectorAll('svg')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))")
            if found:
                browser.wait("document.querySelector('.detail-row')")
            for section in sections:
                browser.click(".detail-row [class*=KeyValues--header], .detail-row [class*=References--header]", section)
            browser.picture(f"{folder}/{name}.png", last)

        browser.open(f"{viewer}/search?service=shop&lookback=1h&limit=20", 1500)
        browser.wait("document.querySelectorAll('.ResultItem').length > 3")
        # The points of the diagram grow out of nothing.
        browser.wait_until_still(".recharts-scatter-symbol circle", "r")
        browser.picture(f"{folder}/search.png", ".ResultItem")
        trace(triage, "triage", 1500, less=2)
        trace(triage, "links", 1800, span(triage, "join accuse"), ["Tags", "References"], last=".detail-row")
        trace(failed, "error", 1000, span(failed, "attempt charge"))
        trace(failed, "path", 1000)
        trace(handed, "handed", 1000, span(handed, "run checkout"), ["Tags", "handed_to"])
        trace(shared, "shared", 1000, span(shared, "batch pack"), ["References"])
        browser.end()


main()
