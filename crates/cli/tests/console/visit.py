"""Visits the console in Chromium, as a person would: logs in, orders a book, looks for what became of it, opens every
page, presses keys and buttons. Says what does not hold, and fails then.

    visit.py '{"operator": URL, "viewer": URL, "gateway": URL, "screens": DIR, "pictures": DIR or null, "axe": FILE or null}'

With `"measure": N` it only opens each page N times, with nothing cached, and prints how soon each was painted, as JSON.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

WISH = json.loads(sys.argv[1])
CONSOLE = "http://" + urlsplit(WISH["operator"]).netloc
GATEWAY = WISH["gateway"]
WAIT = 20
MOST_BYTES = 150 << 10
# First paint and the server's part, as seen from here: generous, because tests run beside one another in a build with
# checks. What is promised is measured with `--release`.
MOST_PAINT_MS, MOST_SERVER_MS = 2000, 1000
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--force-color-profile=srgb", "--remote-debugging-port=0",
]  # fmt: skip
FAILED = []


def check(well, what):
    if not well:
        FAILED.append(what)
        print("FAILED", what, flush=True)


class Page:
    """One tab, over the protocol of the developer tools."""

    def __init__(self, socket):
        self.socket = socket
        self.number = 0
        self.waiting = {}
        self.loaded = asyncio.Event()
        self.complaints = []
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        async for message in self.socket:
            message = json.loads(message)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
            else:
                self.event(message["method"], message["params"])

    def event(self, method, params):
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append("exception: " + json.dumps(params["exceptionDetails"])[:400])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append("console: " + json.dumps(params["args"])[:400])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]  # violations of the policy are among them
            self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    async def call(self, method, **params):
        self.number += 1
        answer = asyncio.get_running_loop().create_future()
        self.waiting[self.number] = answer
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        answer = await asyncio.wait_for(answer, WAIT)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def open(self, url):
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self.loaded.wait(), WAIT)

    async def js(self, expression):
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:200]}: {json.dumps(answer['exceptionDetails'])[:600]}")
        return answer["result"].get("value")

    async def until(self, expression, what, limit=WAIT):
        """Waits until something is true in the page; how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < limit:
            try:
                if await self.js(expression):
                    return time.monotonic() - began
            except RuntimeError:
                pass  # the page is being replaced
            await asyncio.sleep(0.03)
        where = await self.js("location.href + ' ' + document.body.innerText.slice(0, 1500)")
        raise RuntimeError(f"{what}: not within {limit} s: {where}")

    async def key(self, key):
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    async def look(self, theme="light", width=1440, height=900):
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    async def shoot(self, name, directory=None, height=None):
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        view = await self.js("[innerWidth, innerHeight]")
        clip = {"x": 0, "y": 0, "width": view[0], "height": height or min(max(size["height"], view[1]), 4000), "scale": 1}
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path = os.path.join(directory or WISH["screens"], name + ".png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
        return path


# What a reader of screens needs: names, headings in order, landmarks, nothing wider than the screen.
STRUCTURE = """(() => {
  const wrong = [];
  const seen = (node) => node.checkVisibility({ visibilityProperty: true });
  const levels = [...document.querySelectorAll('main h1, main h2, main h3, main h4')].filter(seen).map((h) => Number(h.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) wrong.push(`headings of the first level: ${levels}`);
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) wrong.push(`a heading is left out: ${levels}`); });
  for (const landmark of document.body.matches('.login') ? ['main'] : ['main', 'header', 'nav[aria-label]']) if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
  for (const table of document.querySelectorAll('table')) if (!table.caption) wrong.push('a table without a caption');
  for (const cell of document.querySelectorAll('th')) if (!cell.scope) wrong.push(`a head without scope: ${cell.innerText}`);
  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  if (twice.length) wrong.push(`ids that are there twice: ${twice}`);
  if (document.documentElement.scrollWidth > innerWidth + 1) wrong.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
  return wrong;
})()"""
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "spinbutton", "checkbox", "img", "image", "dialog"}
FIGURES = """(() => {
  const [page] = performance.getEntriesByType('navigation');
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  const parts = performance.getEntriesByType('resource').filter((part) => !part.name.includes('/live'));
  const bytes = page.decodedBodySize + parts.reduce((sum, part) => sum + part.decodedBodySize, 0);
  return { paint: paint.startTime, server: page.responseStart - page.requestStart, bytes };
})()"""


async def accessible(page, name):
    for wrong in await page.js(STRUCTURE):
        check(False, f"{name}: {wrong}")
    tree = await page.call("Accessibility.getFullAXTree")
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value", "")
        if not node.get("ignored") and role in CONTROLS and not node.get("name", {}).get("value", "").strip():
            told = await page.call("DOM.describeNode", backendNodeId=node["backendDOMNodeId"])
            check(False, f"{name}: a {role} without a name: {json.dumps(told['node'])[:200]}")
    if WISH["axe"]:
        with open(WISH["axe"]) as file:
            await page.js(file.read() + "\n;true")
        found = await page.js(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map((one) =>"
            " `${one.id} (${one.impact}): ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.target + ' ' + node.failureSummary).join(' | ')}`))"
        )
        for violation in found:
            check(False, f"{name}: axe: {violation}")


async def log_in(page):
    await page.open(WISH["operator"])
    await page.until("document.querySelector('main h1')?.innerText === 'Overview'", "the overview after the login")
    check(await page.js("location.hash === '' && document.cookie === ''"), "neither token nor cookie can be read")
    await page.open(WISH["operator"])
    await page.until("document.querySelector('[role=alert]')?.innerText.includes('has been used')", "a token is used once")


async def order(page, customer):
    """Orders a book in the shop, as a browser does."""
    await page.open(f"{GATEWAY}/shop/books/moby-dick")
    await page.js(
        f"document.querySelector('input[name=customer]').value = {json.dumps(customer)};"
        "document.querySelector('main form button, form[action=\"/shop/orders\"] button').click()"
    )
    await page.until("location.pathname.startsWith('/shop/orders')", "the order")


async def follow_an_order(page):
    await order(page, "Grace")
    began = time.monotonic()
    found = "[...document.querySelectorAll('main tbody tr')].find((row) => row.innerText.includes('POST /shop/orders'))"
    while not await page.js(f"!!({found})"):
        if time.monotonic() - began > 2:
            break
        await page.open(CONSOLE + "/traces?service=storefront&last=5m")
    check(time.monotonic() - began <= 2, "a trace is seen within two seconds of its order")
    print(f"the trace of an order is seen after {time.monotonic() - began:.2f} s")
    await page.open(await page.js(f"({found}).querySelector('a').href"))
    trace = await page.js("location.href")
    said = "document.querySelector('.waterfall').innerText"
    parts = ("gateway → ", "storefront", "orders", "payments", "catalog", "order placed", "payment taken",
             "publish order-placed", "deliver settle", "settlement")  # fmt: skip
    while not await page.js(f"{json.dumps(parts)}.every((part) => {said}.includes(part))"):
        if time.monotonic() - began > 2:
            break
        await page.open(trace)
    text = await page.js(said)
    for part in parts:
        check(part in text, f"the waterfall of an order tells of {part}: {text}")
    return trace


async def find_a_bug(page):
    await order(page, "Grace #seven")
    began = time.monotonic()
    await page.open(CONSOLE + "/errors")
    await page.until("document.querySelector('main').innerText.includes('loyalty card')", "the group of errors, live", 5)
    print(f"an error is seen after {time.monotonic() - began:.2f} s")
    await page.js("[...document.querySelectorAll('main tbody a')].find((link) => link.innerText.includes('loyalty card')).click()")
    await page.until("!!document.querySelector('#led .waterfall')", "the trace that led to it")
    text = await page.js("document.querySelector('#led').innerText")
    for part in ("The trace that led to it", "gateway → ", "storefront", "payments", "loyalty card"):
        check(part in text, f"the trace that led to an error tells of {part}: {text}")
    return await page.js("location.href")


async def press_keys(page):
    await page.open(CONSOLE + "/")
    await page.key("?")
    await page.until("document.querySelector('#keys').open", "the list of keys")
    await page.js("document.querySelector('#keys').close()")
    for keys, path in (("gs", "/services"), ("gt", "/traces")):
        for key in keys:
            await page.key(key)
        await page.until(f"location.pathname === '{path}' && document.readyState === 'complete'", f"{keys} leads to {path}")
    await page.key("j")
    check(await page.js("!!document.querySelector('main tr.current') && document.activeElement.matches('main a, main summary')"), "j moves to a row")
    await page.key("/")
    check(await page.js("document.activeElement.matches('input')"), "/ searches")
    await page.js("document.activeElement.blur()")
    for theme in ("dark", "light"):
        await page.key("d")
        check(await page.js("document.documentElement.dataset.theme") == theme, f"d turns to {theme}")
    await page.js("localStorage.clear(); delete document.documentElement.dataset.theme")


async def restart(page):
    """A button asks, does, tells; and the page shows it by itself."""
    await page.open(CONSOLE + "/services/recommendations")
    run = "document.querySelector('#i-recommendations-1')?.dataset.run"
    before = await page.js(run)
    await page.js("document.querySelector('#instances form[action=\"/do/restart\"] button').click()")
    await page.until("document.querySelector('#sure').open", "it asks first")
    await page.js("document.querySelector('#sure-yes').click()")
    await page.until("!!document.querySelector('.toast.good')", "it says that it is done")
    await page.until(f"{run} !== {json.dumps(before)}", "the row of the instance changes by itself")
    # What was asked in vain: without the token of the session, and from another page.
    status = await page.js("fetch('/do/restart', { method: 'POST', body: new URLSearchParams({ sure: 'yes' }) }).then((answer) => answer.status)")
    check(status == 403, f"a form without the token of the session is answered with {status}")


async def as_a_viewer(page):
    await page.call("Network.clearBrowserCookies")
    await page.open(WISH["viewer"])
    await page.until("document.querySelector('main h1')?.innerText === 'Overview'", "the overview of a viewer")
    await page.open(CONSOLE + "/services/catalog")
    check(await page.js("document.querySelectorAll('main form[action^=\"/do/\"]').length === 0"), "a viewer has no buttons")
    csrf = await page.js("document.querySelector('input[name=csrf]').value")
    status = await page.js(
        f"fetch('/do/restart', {{ method: 'POST', body: new URLSearchParams({{ csrf: '{csrf}', sure: 'yes', target: 'catalog' }}) }}).then((answer) => answer.status)"
    )
    check(status == 403, f"a viewer who restarts is answered with {status}")


def load():
    """Some traffic, so that there is something to see."""
    for _ in range(3):
        for path in ("/books", "/books/moby-dick", "/books/gone", "/recommendations/walden", "/", "/orders", "/nothing"):
            try:
                urllib.request.urlopen(GATEWAY + path, timeout=5).read()
            except OSError:
                pass


async def visit(page, name, path):
    """Opens a page, looks whether anything is wrong with it, and takes pictures of it."""
    page.complaints.clear()
    await page.look()
    looks = []
    for _ in range(3):
        await page.open(CONSOLE + path)
        await page.until("performance.getEntriesByName('first-contentful-paint').length > 0", name + " is painted")
        looks.append(await page.js(FIGURES))
    best, largest = (lambda key: min(look[key] for look in looks)), max(look["bytes"] for look in looks)
    figures = {"bytes": largest, "server": best("server"), "paint": best("paint")}
    print(f"{name:<12} {figures['bytes']:>7} bytes, server {figures['server']:6.1f} ms, first paint {figures['paint']:6.1f} ms")
    check(figures["bytes"] <= MOST_BYTES, f"{name}: {figures['bytes']} bytes")
    check(figures["paint"] <= MOST_PAINT_MS and figures["server"] <= MOST_SERVER_MS, f"{name}: {figures}")
    await asyncio.sleep(0.4)  # what is live has come once
    await accessible(page, name)
    await page.shoot(name)
    await page.look(theme="dark")
    await accessible(page, name + " in the dark")
    await page.shoot(name + "-dark")
    await page.look(width=390, height=844)
    for wrong in await page.js(STRUCTURE):
        check(False, f"{name} on a telephone: {wrong}")
    await page.shoot(name + "-narrow")
    await page.look()
    for complaint in page.complaints:
        check(False, f"{name}: {complaint}")


def trade(seconds):
    """A shop that is busy, so that charts have something to show."""
    until, number = time.monotonic() + seconds, 0
    paths = ["/books", "/books/moby-dick", "/", "/recommendations/walden", "/books?q=fog", "/shop/books/walden", "/books/gone"]
    while time.monotonic() < until:
        number += 1
        body = None
        if number % 9 == 0:
            body = json.dumps({"book_id": "moby-dick", "quantity": number % 4 + 1, "customer": "Ada"}).encode()
        path = "/orders" if body else paths[number % len(paths)]
        try:
            request = urllib.request.Request(GATEWAY + path, data=body, headers={"content-type": "application/json"})
            urllib.request.urlopen(request, timeout=5).read()
        except OSError:
            pass
        time.sleep(0.02 + 0.03 * (number // 400 % 3))


async def pictures(page):
    """Those that the documents show."""
    directory = WISH["pictures"]
    trading = asyncio.create_task(asyncio.to_thread(trade, 190))
    await asyncio.sleep(160)
    # What they show is a moment old, not what the whole visit left.
    trace, error = await follow_an_order(page), await find_a_bug(page)
    os.makedirs(directory, exist_ok=True)
    shots = [
        ("overview", "/", "light", 820), ("overview-dark", "/", "dark", 820), ("trace", trace, "light", 680),
        ("error", error, "dark", 760), ("service", "/services/catalog", "light", 900), ("logs", "/logs", "dark", 560), ("queues", "/queues", "light", 560), ("objectives", "/objectives", "light", 520),
    ]  # fmt: skip
    for name, path, theme, height in shots:
        await page.look(theme=theme, width=1280, height=height)
        await page.open(path if path.startswith("http") else CONSOLE + path)
        await asyncio.sleep(2.5)  # two looks at what is used make a rate
        file = await page.shoot(name, directory, height)
        if shutil.which("pngquant"):
            subprocess.run(["pngquant", "--force", "--skip-if-larger", "--strip", "--speed=1", "--quality=60-90", "--output", file, file], check=False)
    await trading


async def run(page):
    for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
        await page.call(domain + ".enable")
    await page.look()
    await page.open(CONSOLE + "/")
    await accessible(page, "login")
    await page.shoot("login")
    await log_in(page)
    page.complaints.clear()  # the token that was used twice is answered with 401
    await asyncio.to_thread(load)
    trace = await follow_an_order(page)
    error = await find_a_bug(page)
    pages = PAGES + [("trace", trace), ("flame", trace + "?as=flame"), ("error", error)]
    pages += [(f"{kind}-one", path) for kind, path in await of_pipes(page)]
    for name, path in pages:
        await visit(page, name, path.removeprefix(CONSOLE))
    # The graph shows the last two minutes: on a slow machine what was asked at first is older.
    await asyncio.to_thread(load)
    await page.open(CONSOLE + "/")
    await page.until("document.querySelectorAll('.graph .flow').length > 3", "calls are seen to flow")
    graph = await page.js("[...document.querySelectorAll('.graph a')].map((node) => node.textContent)")
    for service in ("gateway", "storefront", "catalog", "orders", "payments", "order-placed", "settle", "settlement"):
        check(any(told.startswith(service + " ") for told in graph), f"{service} is in the graph: {graph}")
    await press_keys(page)
    await restart(page)
    if WISH["pictures"]:
        await pictures(page)
    await as_a_viewer(page)


PAGES = [
    ("overview", "/"), ("services", "/services"), ("service", "/services/catalog"), ("routes", "/routes"),
    ("requests", "/requests"), ("traces", "/traces"), ("logs", "/logs"), ("metrics", "/metrics"),
    ("metric", "/metrics?name=atoll_instance_memory_bytes"), ("queues", "/queues"), ("objectives", "/objectives"),
    ("errors", "/errors"), ("events", "/events"), ("settings", "/settings"),
]  # fmt: skip


async def measure(page, times):
    """How soon each page is painted by a browser that has nothing of it yet."""
    for domain in ("Page", "Runtime", "Network"):
        await page.call(domain + ".enable")
    await page.look()
    await log_in(page)
    await asyncio.to_thread(trade, 10)
    trace, error = await follow_an_order(page), await find_a_bug(page)
    pages = PAGES + [("trace", trace), ("flame", trace + "?as=flame"), ("error", error)]
    pages += [(f"{kind}-one", path) for kind, path in await of_pipes(page)]
    await page.call("Network.setCacheDisabled", cacheDisabled=True)
    figures = []
    for name, path in pages:
        looks = []
        for _ in range(times + 1):
            await page.open(CONSOLE + path.removeprefix(CONSOLE))
            await page.until("performance.getEntriesByName('first-contentful-paint').length > 0", name + " is painted")
            looks.append(await page.js(FIGURES))
        of = lambda key: [round(look[key], 2) for look in looks[1:]]  # the first warms up the browser, not its cache
        figures.append({"page": name, "paint": of("paint"), "server": of("server"), "bytes": max(of("bytes"))})
    print(json.dumps(figures), flush=True)


async def of_pipes(page):
    """A queue and a topic, where the shop has any."""
    await page.open(CONSOLE + "/queues")
    links = await page.js("[...document.querySelectorAll('main tbody th a')].map((link) => new URL(link.href).pathname)")
    firsts = {path.split("/")[1]: path for path in reversed(links)}
    return [(kind.rstrip("s"), path) for kind, path in firsts.items()]


async def main():
    home = tempfile.mkdtemp(prefix="console-visit-")
    command = ["chromium", *QUIET, "--user-data-dir=" + home, "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in browser.stderr:
            found = re.search(r"DevTools listening on ws://([^/]+)", line)
            if found:
                break
        tools = f"http://{found.group(1)}/json"
        tabs = json.load(urllib.request.urlopen(tools, timeout=WAIT))
        tab = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        async with connect(tab, max_size=64 << 20) as socket:
            page = Page(socket)
            await (measure(page, WISH["measure"]) if WISH.get("measure") else run(page))
    finally:
        browser.kill()
        browser.wait()
        shutil.rmtree(home, ignore_errors=True)
    print(f"{len(FAILED)} failed" if FAILED else "all well", flush=True)
    return bool(FAILED)


sys.exit(asyncio.run(main()))
