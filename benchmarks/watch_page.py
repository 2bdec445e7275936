"""`python -m benchmarks.watch_page`: docs/watch.jpg, a picture of the page of a running `make watch`.

Let it run for a minute or two before, so that there are events. Chromium is needed.
"""

import argparse
from pathlib import Path

from benchmarks.screens import CHROMIUM, HERE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch_page", description=__doc__)
    parser.add_argument("--page", default="http://127.0.0.1:8780", help="address of the page")
    parser.add_argument("--out", type=Path, default=HERE / "docs/watch.jpg", help="file of the picture")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1456, "height": 820}, color_scheme="dark")
        page.goto(args.page)
        page.wait_for_timeout(5000)  # pictures of all cameras
        page.screenshot(path=args.out, type="jpeg", quality=85)
        chromium.close()


if __name__ == "__main__":
    main()
