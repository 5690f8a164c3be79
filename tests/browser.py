"""A headless Chromium that notes errors of the console and requests that it makes."""

import json

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # What asks for another machine fails, and is an error of the console.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """Opens pages, runs scripts in them, and says what went wrong."""

    def __init__(self, binary, driver, profile):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(binary)
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability(
            "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
        )
        service = webdriver.ChromeService(executable_path=str(driver))
        self.driver = webdriver.Chrome(options=options, service=service)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def resize(self, width, height=900):
        """Show pages in a window of this inner size, in pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def open(self, url):
        """Load a page, and forget what earlier pages logged."""
        self.errors(), self.requests()
        self.driver.get(url)

    def run(self, script, *arguments):
        """Return what a script returns, run as the body of a function in the page."""
        return self.driver.execute_script(script, *arguments)

    def errors(self):
        """Return the console's errors and warnings since they were last asked for."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in {"SEVERE", "WARNING"}]

    def requests(self):
        """Return the URLs asked for since they were last asked for."""
        sent = "Network.requestWillBeSent"
        logged = [entry["message"] for entry in self.driver.get_log("performance")]
        found = [json.loads(text)["message"] for text in logged if sent in text]
        return [e["params"]["request"]["url"] for e in found if e["method"] == sent]

    def picture(self, path):
        """Write what the window shows as a PNG."""
        self.driver.save_screenshot(str(path))
