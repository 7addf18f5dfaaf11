"""Which colours? Those of Okabe and Ito, which colour-blind readers can tell apart, on a light and on a dark page.

Blue is memory-bound and vermilion is compute-bound, in text as well as in colour.
"""

from collections import namedtuple

Theme = namedtuple("Theme", "page ink faint grid memory compute memory_region compute_region path other")
THEMES = {
    "light": Theme(
        "#ffffff", "#1a1a1a", "#5f6368", "#e3e6ea", "#0067a5", "#b84a00", "#eef5fb", "#fdf5e6", "#00795a", "#8c3f85"
    ),
    "dark": Theme(
        "#16181d", "#f1f1f1", "#a7adb5", "#30353d", "#5cb8f2", "#f59a4c", "#18242f", "#2b241a", "#3ecf9e", "#d996d3"
    ),
}
