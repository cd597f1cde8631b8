"""Take the pictures of the documents anew, from the results of a run, with a Chromium.

    python docs/images/retake.py results            # after `snakemake --config model=all`

report.png and definition.png are of Kimi-K2, index.png is the table over the models of the run;
what the results do not hold is left as it is. The windows have a fixed size, so a picture changes
only with what it shows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
KIMI = "kimi-k2-instruct/report.html"
ONE = "#d/mla_paged/mla_paged_decode_h8_ckv512_kpe64_ps1"
# Picture -> page below the results folder, height of the window, colours.
PICTURES = {
    "report.png": (KIMI, 1000, "light"),
    "definition.png": (KIMI + ONE, 1000, "dark"),
    "index.png": ("index.html", 900, "light"),
}
WIDTH = 1300


def main() -> None:
    """Take the pictures that the results have pages for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results folder of a run")
    results = parser.parse_args().results.resolve()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        parser.exit(1, "error: no chromium is on PATH; run `make browser` or install one\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (page, height, colours) in PICTURES.items():
            if not (results / page.partition("#")[0]).is_file():
                print(f"{name}: left as it is; {results} has no {page.partition('#')[0]}")
                continue
            size = {"width": WIDTH, "height": height}
            tab = browser.new_page(viewport=size, color_scheme=colours)
            tab.goto(f"file://{results / page}")
            tab.screenshot(path=FOLDER / name)
            print(FOLDER / name)
        browser.close()


if __name__ == "__main__":
    main()
