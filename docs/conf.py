"""How the documentation is built: ``make docs``, then open docs/_build/html/index.html."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from streamspread.system.version import __version__  # noqa: E402

project = "streamspread"
author = "the streamspread authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "pictures"]
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
# The study is what a program wrote, with headings of its own; the gallery's settings hold functions.
suppress_warnings = ["myst.header", "config.cache"]

# What lies outside this folder, as files of the checkout link to it, and the page that has it here; None: no
# page, and the words stand alone.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "RELEASING.md": "releasing.md",
    "benchmarks/README.md": "benchmark_programs.md",
    "examples": "gallery/index.rst",
    "benchmarks/results": None,
    "notebooks": None,
}

# Names of other projects are linked only where their inventories can be fetched.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://pytorch.org/docs/stable", None),
    }
    if os.environ.get("STREAMSPREAD_DOCS_ONLINE")
    else {}
)

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it, with shapes
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = f"streamspread {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
smartquotes_action = "qe"  # not the dashes of --flags
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {page: [] for page in ("index", "tutorial", "mathematics")}
html_show_sourcelink = False

# The examples of examples/ run on their tiny inputs and become pages and notebooks.
sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"(__init__|document|snippets|notebooks)\.py$",
    "reset_argv": lambda _conf, _variables: ["--tiny"],
    "reset_modules": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "min_reported_time": 0,
    "write_computation_times": False,
}


def inside(app, name, source):
    """Links of a page that lead out of this folder, led to the page that has it here."""
    up = "../" * name.count("/")

    def led(match):
        target = match["target"].rstrip("/")
        if target not in OUTSIDE:
            return match[0]
        page = OUTSIDE[target]
        return (
            match["text"]
            if page is None
            else f"[{match['text']}]({up}{page}{'' if page == 'index.md' else match['anchor'] or ''})"
        )

    link = rf"\[(?P<text>[^\]]*)\]\({re.escape(up)}\.\./(?P<target>[^)#]+)(?P<anchor>#[^)]*)?\)"
    source[0] = re.sub(link, led, source[0])
    if name.startswith("study/"):  # a number and its unit stay on one line
        source[0] = re.sub(r"(?<=\d) %", "\u00a0%", source[0])


def setup(app):
    app.connect("source-read", inside)
