"""Makes a page and a notebook of each recipe's script, and a page that lists them."""

from pathlib import Path
from typing import Any

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[1] / "recipes"
LIST = """\
# Recipes

Whole programs, from data to a picture, whose results the tests check. Take one that is
near your case, as a page, a script or a notebook, and change it.
"""


def scripts() -> list[Path]:
    """Return the scripts of all recipes, by name."""
    return sorted(FOLDER.glob("*.py"))


def notebook(script: Path) -> Any:
    """Return a script, in jupytext's percent format, as a notebook."""
    book = jupytext.read(script)
    names = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata["kernelspec"] = names
    book.metadata.pop("jupytext", None)
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"  # the same whenever it is made
    nbformat.validate(book)
    return book


def page(script: Path) -> str:
    """Return the page of a script: its text, and its code in blocks."""
    name = script.stem
    title, *cells = [
        cell.source
        if cell.cell_type == "markdown"
        else f"```python\n{cell.source}\n```"
        for cell in notebook(script).cells
    ]
    heading, _, text = title.partition("\n")
    files = f"As a [script]({name}.py) and as a [notebook]({name}.ipynb)."
    return "\n\n".join([heading, files, text.strip(), *cells]) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the notebooks."""
    entries = [LIST]
    for script in scripts():
        text, name = page(script), script.stem
        heading, _, first, *_ = text.split("\n\n")
        entries.append(f"## [{heading[2:]}]({name}.md)\n\n{first}\n")
        made = {"md": text, "ipynb": jupytext.writes(notebook(script), "ipynb")}
        for suffix, content in made.items():
            path = f"recipes/{name}.{suffix}"
            files.append(File.generated(config, path, content=content))
    path = "recipes/index.md"
    files.append(File.generated(config, path, content="\n".join(entries)))
    return files
