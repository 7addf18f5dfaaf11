"""Which colours? Those of Okabe and Ito, which colour-blind readers can tell apart, on a light and on a dark page.

Blue is memory-bound and vermilion is compute-bound, in text as well as in colour. What is neither, the curves of a
sweep and the parts of a stack, has colours of its own.
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
# Five hues, and four of them again, darker or lighter.
SERIES = {
    "light": (
        "#00795a", "#8c3f85", "#6b6b1f", "#a3315f", "#5f6368", "#004d3a", "#552650", "#45450f", "#33373c"
    ),
    "dark": (
        "#3ecf9e", "#d996d3", "#c6c65a", "#f58bb0", "#a7adb5", "#a9ecd6", "#f0d3ee", "#ecec9f", "#dfe3e8"
    ),
}  # fmt: skip
