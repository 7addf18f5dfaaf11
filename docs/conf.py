"""The self-study edition: `make site` makes a folder of pages from the stored notebooks; nothing is run or fetched."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for course.py

project = html_title = "The roofline of transformers"
language = "en"
smartquotes = False  # "@" is an operator
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "course"]
exclude_patterns = ["README.md"]

nb_execution_mode = "off"  # the outputs are those that `make test` compares
nb_ipywidgets_js = {}  # would come from the net
myst_heading_anchors = 3
# course.py puts it there. It draws SVG: some browsers refuse the fonts that lie beside a page opened from a file.
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"scale": 0.95}}  # its menu would fetch more of MathJax

autodoc_typehints = "none"  # the docstrings say more
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_copy_source = html_use_index = html_domain_indices = False
html_show_search_summary = False  # it fetches the pages that it found, which a page opened from a file may not do
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "footer_content_items": [],
}
html_context = {"default_mode": "auto"}
